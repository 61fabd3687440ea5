"""Rows of a job: fetched, checked and laid out by prepare, read by train."""
