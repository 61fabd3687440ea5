"""How the ranks hold the weights that are trained: all of them on each, or a share."""
