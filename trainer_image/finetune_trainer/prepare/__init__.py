"""Fetches, checks and lays out what is trained on; no accelerator is needed."""
