"""Everything inside the trainer image: prepare, train and publish. Knows nothing of Kubernetes."""
