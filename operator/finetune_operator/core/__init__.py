"""Deciding: pure functions of what was observed and of the time. No I/O, no clock, no environment, no randomness."""
