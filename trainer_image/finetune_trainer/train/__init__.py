"""Trains on the accelerators of a gang: `supervisor` starts the ranks, `train` is the story of each."""
