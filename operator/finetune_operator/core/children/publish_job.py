"""The Job that publishes the model. Besides preflight it alone has the write token, or keys."""

from typing import Any

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.types import FinetuneJob, Publish
from finetune_operator.core.children import hub_job, pod
from finetune_operator.core.platform import Platform


def build_publish_job(job: FinetuneJob, publish: Publish, *, platform: Platform) -> dict[str, Any]:
    """Return the publish Job; a repeated pod finds its own commit by the tag and makes no second one."""
    container = hub_job.writing_container(
        job, Role.PUBLISH, platform=platform, env={keys.ENV_WORKSPACE: pod.workspace_path(job)}
    )
    container["volumeMounts"].append(pod.workspace_mount(job))
    spec = hub_job.hub_pod_spec(job, platform=platform)
    spec["containers"] = [container]
    spec["volumes"] = [*pod.common_volumes(job), pod.workspace_volume(job), *hub_job.writing_volumes(publish)]
    return hub_job.build_hub_job(job, Role.PUBLISH, platform=platform, template=spec)
