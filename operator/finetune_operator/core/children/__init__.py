"""Manifests of a FinetuneJob's children, one file per child. Equal arguments give equal manifests."""
