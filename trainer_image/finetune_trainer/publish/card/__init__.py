"""The model card: what the model is, what it gained, how to use it. Holds no row of data."""
