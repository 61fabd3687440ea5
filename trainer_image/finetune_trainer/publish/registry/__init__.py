"""The model as an OCI artifact in a registry: blobs first, its tag last, believed once it was read back."""
