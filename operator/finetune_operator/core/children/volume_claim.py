"""The volume claim that holds a job's inputs, checkpoints, model and report."""

from typing import Any

from finetune_api.types import FinetuneJob
from finetune_operator.core import names


def build_volume_claim(job: FinetuneJob) -> dict[str, Any]:
    """Return the claim; only for jobs without storage.existingClaim. Its labels tell whose it is, or was."""
    storage = job.spec.storage
    spec: dict[str, Any] = {
        "accessModes": [storage.access_mode],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    metadata = names.metadata(job, names.own_workspace(job))
    if storage.retain != "WithJob":
        del metadata["ownerReferences"]
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def build_claim_patch(job: FinetuneJob, *, size: str | None = None, goes_with_job: bool) -> dict[str, Any]:
    """Return the strategic merge patch that makes the claim so; other owners of it stay."""
    owner = names.owner(job)
    metadata = {
        "name": names.own_workspace(job),
        "namespace": job.metadata.namespace,
        "ownerReferences": [owner if goes_with_job else {"$patch": "delete", "uid": owner["uid"]}],
    }
    spec = {"spec": {"resources": {"requests": {"storage": size}}}} if size is not None else {}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, **spec}
