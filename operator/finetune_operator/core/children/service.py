"""The headless Service that gives the training pods names, before they are ready."""

from typing import Any

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.types import FinetuneJob
from finetune_operator.core import names


def build_service(job: FinetuneJob) -> dict[str, Any]:
    """Return the headless Service; rank 0 is RANKS-POD.SERVICE before it is ready, since rendezvous comes first."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(job, names.ranks_service(job)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {keys.LABEL_JOB_UID: job.metadata.uid, keys.LABEL_ROLE: Role.TRAIN.value},
            "ports": [
                {"name": "rendezvous", "port": keys.RENDEZVOUS_PORT},
                {"name": "telemetry", "port": keys.TELEMETRY_PORT},
            ],
        },
    }
