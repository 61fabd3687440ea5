"""Names, labels and owner of children. Deterministic: the same job and attempt give the same name after any restart."""

import hashlib
import json
import re
from typing import Any

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.types import GROUP, KIND, VERSION, FinetuneJob, ObjectMeta
from finetune_api.workspace import CLAIM_FOLDERS

# The longest name is a rank's host name: BASE-HASH-train-NNNN-III, and a host name ends at 63 characters.
BASE_LENGTH = 36
LABEL_LENGTH = 63
#: Kubernetes ends the name of a pod with five of these, and cuts what is before to as many characters.
POD_TOKEN = re.compile("[bcdfghjklmnpqrstvwxz2456789]{5}")
POD_STEM_LENGTH = 58
#: As a storage.subPath.
WHOLE_CLAIM = "."
#: What the operator acts on by itself, at once; no child knows of it.
OPERATORS_OWN = {
    "suspend",
    "rerun",
    "retry",
    "active_deadline_seconds",
    "ttl_seconds_after_finished",
    "storage",
    "tracking",
}


def base(metadata: ObjectMeta) -> str:
    """Return what every child's name starts with: a valid DNS label of at most 45 characters, unique to the object."""
    digest = hashlib.sha256(metadata.uid.encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9-]+", "-", metadata.name).strip("-")
    lettered = words if words[:1].isalpha() else f"ft-{words}"
    return f"{lettered[:BASE_LENGTH].rstrip('-')}-{digest}"


def run_config(job: FinetuneJob) -> str:
    """Return the name of the ConfigMap, another one for each version of the spec: none ever changes under a pod."""
    return f"{base(job.metadata)}-config-{_revision(job)}"


def _revision(job: FinetuneJob) -> str:
    """Return 8 hex digits over what children are made of; defaults do not count, so that a release may add fields.

    A job that runs once more is another thing to its children, too: what was published is trained all the same.
    """
    content = job.spec.model_dump(mode="json", by_alias=True, exclude=OPERATORS_OWN, exclude_defaults=True)
    told = [content, job.status.reruns] if job.status.reruns else content
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def workspace(job: FinetuneJob) -> str:
    """Return the name of the volume claim: the user's own, or the one made for the job."""
    return job.spec.storage.existing_claim or own_workspace(job)


def own_workspace(job: FinetuneJob) -> str:
    """Return the name of the volume claim that is made for the job."""
    return made_workspace(base(job.metadata))


def made_workspace(start: str) -> str:
    """Return the name of a volume claim made for a job, by what the names of all children begin with."""
    return f"{start}-workspace"


def folder(job: FinetuneJob) -> str:
    """Return the job's folder of the claim; empty: all of it. A claim of the user's may be shared by many jobs."""
    storage = job.spec.storage
    if storage.existing_claim is None or storage.sub_path is not None:
        return "" if storage.sub_path in (None, WHOLE_CLAIM) else storage.sub_path
    return f"{CLAIM_FOLDERS}/{job.metadata.namespace}/{base(job.metadata)}"


def ranks_service(job: FinetuneJob) -> str:
    """Return the name of the headless Service of the training pods."""
    return f"{base(job.metadata)}-ranks"


def train_job(job: FinetuneJob, attempt: int) -> str:
    """Return the name of the Job of one gang."""
    return child_job(base(job.metadata), Role.TRAIN, attempt)


def first_rank(job: FinetuneJob, attempt: int) -> str:
    """Return the host name of rank 0 of a gang, which is known before any pod exists."""
    return f"{train_job(job, attempt)}-0.{ranks_service(job)}"


def child_job(start: str, role: Role, attempt: int = 0) -> str:
    """Return the name of a Job, by what the names of all children begin with."""
    return f"{start}-{role.value}-{attempt}" if role == Role.TRAIN or attempt else f"{start}-{role.value}"


def is_pod_name(name: str, job: str, *, index: int | None) -> bool:
    """Tell whether Kubernetes may have given a pod of the Job this name; copies have others, made from it or not.

    `index` is None of a Job whose pods have none in their names.
    """
    end = "-" if index is None else f"-{index}-"
    stem = job[: POD_STEM_LENGTH - len(end)] + end
    return name.startswith(stem) and POD_TOKEN.fullmatch(name, len(stem)) is not None


def labels(job: FinetuneJob, *, role: Role | None = None, attempt: int | None = None) -> dict[str, str]:
    """Return the labels of a child. None are taken over from the job: a copied instance label would confuse GitOps."""
    labels = {
        keys.LABEL_NAME: "finetunejob",
        keys.LABEL_MANAGED_BY: keys.FIELD_MANAGER,
        keys.LABEL_JOB: re.sub(r"[^A-Za-z0-9]+$", "", job.metadata.name[:LABEL_LENGTH]),
        keys.LABEL_JOB_UID: job.metadata.uid,
    }
    if role is not None:
        labels[keys.LABEL_ROLE] = role.value
    if attempt is not None:
        labels[keys.LABEL_ATTEMPT] = str(attempt)
    return labels


def owner(job: FinetuneJob) -> dict[str, Any]:
    """Return the owner reference; without blockOwnerDeletion, which would need rights on finalizers."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
    }


def metadata(job: FinetuneJob, name: str, *, role: Role | None = None, attempt: int | None = None) -> dict[str, Any]:
    """Return the metadata of a child."""
    annotations = {"annotations": {keys.ANNOTATION_RUN_CONFIG: run_config(job)}} if role is not None else {}
    return {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": labels(job, role=role, attempt=attempt),
        **annotations,
        "ownerReferences": [owner(job)],
    }
