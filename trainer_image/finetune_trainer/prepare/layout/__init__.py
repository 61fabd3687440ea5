"""Rows as train takes them: held out, deduplicated, written as tables."""
