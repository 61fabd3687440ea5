"""Many jobs and, at random, all that may happen to them; afterwards what must always hold. `make chaos` runs it."""
