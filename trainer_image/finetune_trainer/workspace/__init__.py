"""What the rooms share: the volume, and how a container is set up, logs and ends."""
