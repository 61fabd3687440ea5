"""The operator: watches FinetuneJobs and makes them true. `core` decides, `shell` acts."""
