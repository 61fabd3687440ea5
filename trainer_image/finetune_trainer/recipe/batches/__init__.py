"""What a step takes: rows, their order, their mixture, how many steps there are."""
