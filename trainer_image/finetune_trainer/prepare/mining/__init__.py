"""Negatives that a model finds."""
