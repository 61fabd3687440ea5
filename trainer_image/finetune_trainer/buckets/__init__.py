"""Buckets of S3, Google and Azure as prepare and publish use them: their clients, and their words."""
