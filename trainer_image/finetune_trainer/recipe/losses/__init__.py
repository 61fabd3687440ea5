"""Training objectives of the spec, built from the library's classes."""
