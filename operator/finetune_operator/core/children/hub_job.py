"""What prepare, publish and track share: Jobs of one pod on CPU with a way out, which repeat what may pass."""

from typing import Any

from finetune_api import keys, workspace
from finetune_api.contract import FINAL_EXIT_CODES, Role
from finetune_api.types import FinetuneJob, Publish
from finetune_operator.core import names
from finetune_operator.core.children import pod
from finetune_operator.core.children.pod_template import customise
from finetune_operator.core.children.queueing import queue_labels
from finetune_operator.core.platform import Platform

#: Tries, ever further apart up to ten minutes: about three hours of a Hub that is away end no job.
BACKOFF_LIMIT = 24
#: A tracker that is away for longer is not told: the volume has it all, and does not wait for ever.
TRACK_SECONDS = 600


def build_hub_job(
    job: FinetuneJob, role: Role, *, attempt: int | None = None, platform: Platform, template: dict[str, Any]
) -> dict[str, Any]:
    """Return a Job that repeats failures of the moment, and gives up at once on those that repeating cannot mend.

    One that goes with a gang, the `attempt`, has no time limit of its own.
    """
    name = names.child_job(names.base(job.metadata), role, attempt or 0)
    metadata = names.metadata(job, name, role=role, attempt=attempt)
    metadata["labels"] |= queue_labels(job, role, platform=platform)
    containers = [*template.get("initContainers", ()), *template["containers"]]
    child = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": BACKOFF_LIMIT,
            **({"activeDeadlineSeconds": _timeout_seconds(job, role)} if attempt is None else {}),
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    *[_give_up(item["name"]) for item in containers],
                ]
            },
            "template": {"metadata": {"labels": names.labels(job, role=role, attempt=attempt)}, "spec": template},
        },
    }
    return customise(child, job, role, platform=platform)


def _timeout_seconds(job: FinetuneJob, role: Role) -> int:
    if role is Role.TRACK:
        return TRACK_SECONDS
    return job.spec.prepare_timeout_seconds if role is Role.PREPARE else job.spec.publish_timeout_seconds


def hub_pod_spec(job: FinetuneJob, *, platform: Platform) -> dict[str, Any]:
    """Return the part of the pod's spec that these roles share.

    Where they have to run on nodes that training may run on, they may run beside its accelerators.
    """
    spec = pod.pod_spec(platform=platform)
    accelerator = job.spec.resources.accelerator
    follows = job.spec.storage.access_mode != "ReadWriteMany" or job.spec.schedule.node_selector
    if follows and accelerator.per_node > 0:
        spec["tolerations"] = [{"key": accelerator.name, "operator": "Exists"}, *spec["tolerations"]]
    return spec


def _give_up(container: str) -> dict[str, Any]:
    codes = {"containerName": container, "operator": "In", "values": sorted(int(code) for code in FINAL_EXIT_CODES)}
    return {"action": "FailJob", "onExitCodes": codes}


def hub_container(job: FinetuneJob, role: Role, *, platform: Platform, env: dict[str, str]) -> dict[str, Any]:
    """Return a container that may reach the Hub."""
    endpoint = {"HF_ENDPOINT": platform.hf_endpoint} if platform.hf_endpoint else {}
    container = pod.container(job, role.value, platform=platform, env={**endpoint, **env})
    container["resources"] = _resources(platform)
    return container


def _resources(platform: Platform) -> dict[str, Any]:
    resources = {"requests": {"cpu": platform.hub_job_cpu_request, "memory": platform.hub_job_memory_request}}
    if platform.hub_job_memory_limit:
        resources["limits"] = {"memory": platform.hub_job_memory_limit}
    return resources


def writing_container(job: FinetuneJob, role: Role, *, platform: Platform, env: dict[str, str]) -> dict[str, Any]:
    """Return a container that sees the write token, or the keys of bucket or registry."""
    publish, mounts = job.spec.publish, []
    if publish is not None and publish.token_secret is not None:
        env = {keys.ENV_WRITE_TOKEN_FILE: workspace.WRITE_TOKEN, **env}
        mounts.append(pod.token_mount(pod.WRITE_TOKEN_VOLUME, workspace.WRITE_TOKEN))
    if publish is not None and publish.secret_name is not None:
        env = {keys.ENV_WRITE_BUCKET_FOLDER: workspace.WRITE_BUCKET, **env}
        mounts.append(pod.bucket_mount(pod.WRITE_BUCKET_VOLUME, workspace.WRITE_BUCKET))
    container = hub_container(job, role, platform=platform, env=env)
    container["volumeMounts"] += mounts
    return container


def writing_volumes(publish: Publish) -> list[dict[str, Any]]:
    """Return the volumes with what it takes to write."""
    volumes = []
    if publish.token_secret is not None:
        volumes.append(pod.token_volume(pod.WRITE_TOKEN_VOLUME, publish.token_secret, workspace.WRITE_TOKEN))
    if publish.secret_name is not None:
        volumes.append(pod.bucket_volume(pod.WRITE_BUCKET_VOLUME, publish.secret_name))
    return volumes
