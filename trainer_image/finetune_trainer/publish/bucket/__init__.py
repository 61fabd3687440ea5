"""The model in a bucket: stored whole, named last, on condition that nobody else has come first."""
