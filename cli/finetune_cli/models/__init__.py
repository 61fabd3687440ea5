"""Finished models: brought to this machine, and given to servers."""
