"""The `finetune` command: manifests, runs on this machine, and jobs on a cluster."""
