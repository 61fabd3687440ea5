"""Rows of a data set: opened, named, read and turned into texts and images."""
