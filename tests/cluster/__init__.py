"""A real Kubernetes on one machine: built from Go modules, run as plain processes, two worker nodes.

Use it with `python -m tests.cluster`, or from a test through `tests.cluster.cluster`.
"""
