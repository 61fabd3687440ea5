"""The operator: decides about FinetuneJobs and keeps the cluster in step. Knows nothing of models."""
