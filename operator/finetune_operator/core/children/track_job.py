"""The Jobs that tell a tracker: of a gang while it trains, and of a job that has ended.

They alone hold the tracker's Secret. The first asks rank 0 and has no volume, which may be of use on one node alone.
"""

from typing import Any

from finetune_api import keys, workspace
from finetune_api.contract import MESSAGE_LIMIT, Role, TrackingTask, TrainingGang
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_api.tracking import Tracking
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.children import hub_job, pod
from finetune_operator.core.conditions import find_condition, reason_of
from finetune_operator.core.platform import Platform

SECRET_VOLUME = "tracking"  # noqa: S105 - the name of a volume
#: Of a pod that waits nearly all of the time, for as long as a gang trains.
LIVE_REQUESTS = {"cpu": "50m", "memory": "256Mi"}
#: It has nothing to save: what it was about to tell, the next one tells.
LIVE_GRACE_SECONDS = 10


def build_track_job(
    job: FinetuneJob, tracking: Tracking, status: FinetuneJobStatus, *, platform: Platform
) -> dict[str, Any]:
    """Return the track Job; a repeated pod finds its own run at the tracker, and writes only what is missing there."""
    spec = _pod_spec(job, tracking, _task_of_end(tracking, status), platform=platform)
    (container,) = spec["containers"]
    container["volumeMounts"].append(pod.workspace_mount(job) | {"readOnly": True})
    spec["volumes"].append(pod.workspace_volume(job))
    return hub_job.build_hub_job(job, Role.TRACK, platform=platform, template=spec)


def build_live_track_job(
    job: FinetuneJob, tracking: Tracking, status: FinetuneJobStatus, *, run: str, platform: Platform
) -> dict[str, Any]:
    """Return the Job that tells the tracker of the gang of `status.attempt` while it trains."""
    training = TrainingGang(attempt=status.attempt, run=run, address=names.first_rank(job, status.attempt))
    task = TrackingTask(
        tracking=tracking,
        phase=Phase.TRAINING,
        reason=Phase.TRAINING,
        attempts=status.attempt,
        start_time=status.start_time,
        training=training,
    )
    spec = _pod_spec(job, tracking, task, platform=platform) | {"terminationGracePeriodSeconds": LIVE_GRACE_SECONDS}
    (container,) = spec["containers"]
    container["resources"] = container["resources"] | {"requests": LIVE_REQUESTS}
    return hub_job.build_hub_job(job, Role.TRACK, attempt=status.attempt, platform=platform, template=spec)


def _pod_spec(job: FinetuneJob, tracking: Tracking, task: TrackingTask, *, platform: Platform) -> dict[str, Any]:
    """Return what both pods are, without a volume of the job's."""
    env = {
        keys.ENV_WORKSPACE: pod.workspace_path(job),
        keys.ENV_TRACKING_TASK: task.model_dump_json(by_alias=True, exclude_none=True),
        keys.ENV_TRACKING_SECRET_FOLDER: workspace.TRACKING_SECRET,
    }
    container = hub_job.hub_container(job, Role.TRACK, platform=platform, env=env)
    spec = hub_job.hub_pod_spec(job, platform=platform)
    spec["containers"] = [container]
    spec["volumes"] = pod.common_volumes(job)
    if (secret := tracking.secret_name) is not None:
        # Optional, so that the pod starts without it and says what is missing: of a job that has ended nobody reads
        # the Events of a pod that waits for a volume.
        volume = pod.bucket_volume(SECRET_VOLUME, secret)
        spec["volumes"].append(volume | {"secret": volume["secret"] | {"optional": True}})
        container["volumeMounts"].append(pod.bucket_mount(SECRET_VOLUME, workspace.TRACKING_SECRET))
    return spec


def _task_of_end(tracking: Tracking, status: FinetuneJobStatus) -> TrackingTask:
    """Return what the pod is told; before the end, when the Job is only shown to the API server, of a good one."""
    summary = find_condition(status, ConditionType.SUCCEEDED)
    return TrackingTask(
        tracking=tracking,
        phase=status.phase if status.phase is Phase.FAILED else Phase.SUCCEEDED,
        reason=reason_of(status),
        message=summary.message[:MESSAGE_LIMIT] if summary is not None else "",
        step=status.progress.step if status.progress is not None else None,
        metrics=status.metrics,
        attempts=status.attempt,
        start_time=status.start_time,
        completion_time=status.completion_time,
        usage=status.usage,
        published=status.published,
    )
