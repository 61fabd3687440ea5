"""The volume claim that holds a job's inputs, checkpoints, model and report."""

from typing import Any

from finetune_api.types import FinetuneJob
from finetune_operator.core import names


def build_volume_claim(job: FinetuneJob) -> dict[str, Any]:
    """Return the claim; only for jobs without storage.existingClaim."""
    storage = job.spec.storage
    spec: dict[str, Any] = {
        "accessModes": [storage.access_mode],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": names.metadata(job, names.own_workspace(job)),
        "spec": spec,
    }
