"""The Job that checks the publishing rights, fetches model and data, and validates them. No accelerator."""

from typing import Any

from finetune_api import keys, workspace
from finetune_api.contract import Role
from finetune_api.sources import ClaimSource, parse_source
from finetune_api.types import FinetuneJob, named_datasets, named_models
from finetune_operator.core.children import hub_job, pod
from finetune_operator.core.platform import Platform


def build_prepare_job(job: FinetuneJob, *, platform: Platform) -> dict[str, Any]:
    """Return the prepare Job, whose pod alone reads models and data; its first container alone may publish."""
    spec = hub_job.hub_pod_spec(job, platform=platform)
    if job.spec.publish is not None:
        spec["initContainers"] = [hub_job.writing_container(job, Role.PREFLIGHT, platform=platform, env={})]
    spec["containers"] = [_prepare_container(job, platform=platform)]
    spec["volumes"] = _volumes(job)
    return hub_job.build_hub_job(job, Role.PREPARE, platform=platform, template=spec)


def _prepare_container(job: FinetuneJob, *, platform: Platform) -> dict[str, Any]:
    env = {
        keys.ENV_WORKSPACE: pod.workspace_path(job),
        keys.ENV_CLAIM_SOURCES: workspace.CLAIM_SOURCES,
        keys.ENV_TELEMETRY_PORT: str(keys.TELEMETRY_PORT),
    }
    mounts = [pod.workspace_mount(job)]
    if job.spec.hub.token_secret is not None:
        env[keys.ENV_READ_TOKEN_FILE] = workspace.READ_TOKEN
        mounts.append(pod.token_mount(pod.READ_TOKEN_VOLUME, workspace.READ_TOKEN))
    if job.spec.buckets.secret_name is not None:
        env[keys.ENV_READ_BUCKET_FOLDER] = workspace.READ_BUCKET
        mounts.append(pod.bucket_mount(pod.READ_BUCKET_VOLUME, workspace.READ_BUCKET))
    mounts += [
        {"name": f"source-{index}", "mountPath": workspace.claim_mount(claim), "readOnly": True}
        for index, claim in enumerate(source_claims(job))
    ]
    container = hub_job.hub_container(job, Role.PREPARE, platform=platform, env=env)
    container["ports"] = [{"name": "telemetry", "containerPort": keys.TELEMETRY_PORT}]
    container["volumeMounts"] += mounts
    return container


def _volumes(job: FinetuneJob) -> list[dict[str, Any]]:
    volumes = [*pod.common_volumes(job), pod.workspace_volume(job)]
    if job.spec.hub.token_secret is not None:
        volumes.append(pod.token_volume(pod.READ_TOKEN_VOLUME, job.spec.hub.token_secret, workspace.READ_TOKEN))
    if job.spec.buckets.secret_name is not None:
        volumes.append(pod.bucket_volume(pod.READ_BUCKET_VOLUME, job.spec.buckets.secret_name))
    if job.spec.publish is not None:
        volumes += hub_job.writing_volumes(job.spec.publish)
    volumes += [
        {"name": f"source-{index}", "persistentVolumeClaim": {"claimName": claim}}
        for index, claim in enumerate(source_claims(job))
    ]
    return volumes


def source_claims(job: FinetuneJob) -> list[str]:
    """Return the claims that `pvc://` sources name, each once, in the order of the spec."""
    named = [*named_models(job.spec), *named_datasets(job.spec)]
    parsed = [parse_source(one.source) for one in named]
    return list(dict.fromkeys(source.claim for source in parsed if isinstance(source, ClaimSource)))
