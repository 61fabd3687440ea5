"""The Hub's HTTP calls, one module per subject; each has its `routes`."""
