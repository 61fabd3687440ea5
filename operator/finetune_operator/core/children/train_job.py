"""The Indexed Job of one gang: as many pods as nodes, which start, fail and restart together."""

from collections.abc import Sequence
from typing import Any

from finetune_api import keys
from finetune_api.contract import Role, RunConfig
from finetune_api.quantities import parse_quantity
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.children import pod
from finetune_operator.core.children.config_map import run_config
from finetune_operator.core.children.pod_group import is_gang_scheduled
from finetune_operator.core.children.pod_template import customise
from finetune_operator.core.children.queueing import queue_labels
from finetune_operator.core.platform import Platform

#: How long ranks wait for each other. The operator sees whether pods are missing and why; torchrun's 15 minutes would
#: only charge a gang that waits for a node to a budget.
RENDEZVOUS_SECONDS = 7 * 24 * 3600
#: Half of what shared storage takes at its slowest, as others save to it at that moment, too.
SAVED_BYTES_PER_SECOND = 0.25e9
LONGEST_GRACE_SECONDS = 3600


def build_train_job(
    job: FinetuneJob,
    *,
    attempt: int,
    num_nodes: int | None = None,
    platform: Platform,
    avoided_nodes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the Indexed Job of one attempt, on all nodes if none are counted.

    A lost pod fails it whole: ranks cannot be replaced one by one.
    """
    config, num_nodes = run_config(job, platform=platform), num_nodes or job.spec.resources.nodes
    spec = _pod_spec(job, config=config, attempt=attempt, platform=platform, avoided_nodes=avoided_nodes)
    spec["containers"][0]["env"] += pod.variables({"PET_NNODES": str(num_nodes)})
    metadata = names.metadata(job, names.train_job(job, attempt), role=Role.TRAIN, attempt=attempt)
    metadata["labels"] |= queue_labels(job, Role.TRAIN, platform=platform)
    child = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,  # core/retiring.py decides about retrying, not the Job
            "completionMode": "Indexed",
            "completions": num_nodes,
            "parallelism": num_nodes,
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {
                "metadata": {
                    "labels": names.labels(job, role=Role.TRAIN, attempt=attempt),
                    "annotations": {keys.ANNOTATION_SPEC_HASH: config.spec_hash},
                },
                "spec": spec,
            },
        },
    }
    return customise(child, job, Role.TRAIN, platform=platform)


def _pod_spec(
    job: FinetuneJob, *, config: RunConfig, attempt: int, platform: Platform, avoided_nodes: Sequence[str]
) -> dict[str, Any]:
    spec = {
        **pod.pod_spec(platform=platform),
        "terminationGracePeriodSeconds": grace_seconds(job),
        "subdomain": names.ranks_service(job),
        "affinity": {**_apart(job), **_away_from(avoided_nodes)},
        "containers": [_train_container(job, config=config, attempt=attempt, platform=platform)],
        "volumes": [*pod.common_volumes(job), pod.workspace_volume(job), _shared_memory(job)],
    }
    if is_gang_scheduled(job, platform=platform):
        spec["schedulingGroup"] = {"podGroupName": names.train_job(job, attempt)}
    return spec


def grace_seconds(job: FinetuneJob) -> int:
    """Return how long ranks that are asked to end may take: for a step, and to save a checkpoint as large as theirs."""
    num_bytes = (job.status.model.checkpoint_bytes if job.status.model is not None else None) or 0
    return min(LONGEST_GRACE_SECONDS, pod.TERMINATION_GRACE_SECONDS + int(num_bytes / SAVED_BYTES_PER_SECOND))


def _apart(job: FinetuneJob) -> dict[str, Any]:
    labels = {keys.LABEL_JOB_UID: job.metadata.uid, keys.LABEL_ROLE: Role.TRAIN.value}
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    preference = {"weight": 100, "podAffinityTerm": term}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}


def _away_from(nodes: Sequence[str]) -> dict[str, Any]:
    if not nodes:
        return {}
    expression = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": list(nodes)}
    wish = {"weight": 100, "preference": {"matchExpressions": [expression]}}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}


def _shared_memory(job: FinetuneJob) -> dict[str, Any]:
    return {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": job.spec.resources.shared_memory}}


def _train_container(job: FinetuneJob, *, config: RunConfig, attempt: int, platform: Platform) -> dict[str, Any]:
    own = {keys.ENV_WORKSPACE: pod.workspace_path(job)}
    env = {**own, **_environment(config, attempt=attempt), **_rendezvous(job, config=config, attempt=attempt)}
    container = pod.container(job, Role.TRAIN.value, platform=platform, env=env)
    container["env"].append(_node_rank())
    container["ports"] = [
        {"name": "telemetry", "containerPort": keys.TELEMETRY_PORT},
        {"name": "rendezvous", "containerPort": keys.RENDEZVOUS_PORT},
    ]
    container["resources"] = _resources(job)
    container["volumeMounts"] += [
        pod.workspace_mount(job),
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - a volume of the pod's own
    ]
    return container


def _environment(config: RunConfig, *, attempt: int) -> dict[str, str]:
    threads = int(parse_quantity(config.spec.resources.requests.cpu)) // config.processes_per_node
    return {
        keys.ENV_ATTEMPT: str(attempt),
        keys.ENV_TELEMETRY_PORT: str(keys.TELEMETRY_PORT),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OMP_NUM_THREADS": str(max(1, threads)),
    }


def _rendezvous(job: FinetuneJob, *, config: RunConfig, attempt: int) -> dict[str, str]:
    """Return torchrun's options as environment."""
    return {
        "PET_NPROC_PER_NODE": str(config.processes_per_node),
        "PET_MASTER_ADDR": names.first_rank(job, attempt),
        "PET_MASTER_PORT": str(keys.RENDEZVOUS_PORT),
        "PET_RDZV_CONF": f"timeout={RENDEZVOUS_SECONDS}",
    }


def _node_rank() -> dict[str, Any]:
    field = f"metadata.labels['{keys.LABEL_COMPLETION_INDEX}']"
    return {"name": "PET_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": field}}}


def _resources(job: FinetuneJob) -> dict[str, Any]:
    resources = job.spec.resources
    limits = {"memory": resources.requests.memory}
    if resources.accelerator.per_node > 0:
        limits[resources.accelerator.name] = str(resources.accelerator.per_node)
    return {"requests": {"cpu": resources.requests.cpu, "memory": resources.requests.memory}, "limits": limits}
