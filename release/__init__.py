"""A release: images and chart in a registry, and beside them what a user needs to check them."""
