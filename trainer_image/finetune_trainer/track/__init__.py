"""Tells an experiment tracker of a job that has ended, from what its volume holds."""
