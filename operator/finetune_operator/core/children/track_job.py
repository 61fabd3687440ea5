"""The Job that tells a tracker of a job that has ended. It alone holds the tracker's Secret; the volume it reads."""

from typing import Any

from finetune_api import keys, workspace
from finetune_api.contract import Role, TrackingTask
from finetune_api.status import FinetuneJobStatus, Phase
from finetune_api.tracking import Tracking
from finetune_api.types import FinetuneJob
from finetune_operator.core.children import hub_job, pod
from finetune_operator.core.conditions import reason_of
from finetune_operator.core.platform import Platform

SECRET_VOLUME = "tracking"  # noqa: S105 - the name of a volume


def build_track_job(
    job: FinetuneJob, tracking: Tracking, status: FinetuneJobStatus, *, platform: Platform
) -> dict[str, Any]:
    """Return the track Job; a repeated pod finds its own run at the tracker, and writes only what is missing there."""
    env = {
        keys.ENV_WORKSPACE: pod.workspace_path(job),
        keys.ENV_TRACKING_TASK: _task(tracking, status).model_dump_json(by_alias=True, exclude_none=True),
        keys.ENV_TRACKING_SECRET_FOLDER: workspace.TRACKING_SECRET,
    }
    container = hub_job.hub_container(job, Role.TRACK, platform=platform, env=env)
    container["volumeMounts"].append(pod.workspace_mount(job) | {"readOnly": True})
    spec = hub_job.hub_pod_spec(job, platform=platform)
    spec["containers"] = [container]
    spec["volumes"] = [*pod.common_volumes(job), pod.workspace_volume(job)]
    if (secret := tracking.secret_name) is not None:
        # Optional, so that the pod starts without it and says what is missing: of a job that has ended nobody reads
        # the Events of a pod that waits for a volume.
        volume = pod.bucket_volume(SECRET_VOLUME, secret)
        spec["volumes"].append(volume | {"secret": volume["secret"] | {"optional": True}})
        container["volumeMounts"].append(pod.bucket_mount(SECRET_VOLUME, workspace.TRACKING_SECRET))
    return hub_job.build_hub_job(job, Role.TRACK, platform=platform, template=spec)


def _task(tracking: Tracking, status: FinetuneJobStatus) -> TrackingTask:
    """Return what the pod is told; before the end, when the Job is only shown to the API server, of a good one."""
    return TrackingTask(
        tracking=tracking,
        phase=status.phase if status.phase is Phase.FAILED else Phase.SUCCEEDED,
        reason=reason_of(status),
        attempts=status.attempt,
        start_time=status.start_time,
        completion_time=status.completion_time,
        usage=status.usage,
        published=status.published,
    )
