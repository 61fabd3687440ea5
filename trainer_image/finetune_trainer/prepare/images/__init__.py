"""Images as files: which there are, what they are named, how small they may be kept."""
