"""FinetuneJobs of a cluster in Python and in notebooks."""

from finetune_cli.cluster.refusal import RefusalError
from finetune_client.client import Client, Job

__all__ = ["Client", "Job", "RefusalError"]
