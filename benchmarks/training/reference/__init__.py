"""The published recipes as people write them: one script each and the library, nothing else."""
