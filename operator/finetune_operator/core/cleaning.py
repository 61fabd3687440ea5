"""What a job leaves behind: accelerators freed at once, pods on silent nodes, the rest after the TTL."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from finetune_api.contract import Role
from finetune_api.status import ConditionType, FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.children.pod_group import is_gang_scheduled
from finetune_operator.core.conditions import find_condition, is_true
from finetune_operator.core.decision import Decision, Deletion, Situation
from finetune_operator.core.gang import seconds_to_force
from finetune_operator.core.observed import JobView, Observed, PodView
from finetune_operator.core.times import format_time, parse_time, seconds_since, soonest

KEEP_LOGS_SECONDS = 30.0
#: How soon to see whether what was removed is gone.
CLEARED_SECONDS = 5.0
#: How long a Job may take to go before its finalizers are told.
KEPT_SECONDS = 120.0


def clean_up(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Return what a finished job still needs: accelerators freed at once, what is not needed removed after the TTL."""
    now = situation.now
    completed = parse_time(status.completion_time)
    remaining = _seconds_to_ttl(status, situation)
    if remaining is not None and remaining <= 0 and not is_tracking(status):
        return _remove(status, situation)
    forced, force_after = force_stuck(situation.observed.pods, now)
    orphans = delete_orphans(situation.observed, situation.observed.pods)
    ended, ending_soon = _unfinished(status, situation, age=seconds_since(completed, now))
    look_again = KEEP_LOGS_SECONDS if ending_soon else None
    return Decision(
        status=status,
        delete=(*delete_jobs(ended), *orphans, *forced),
        requeue_after=soonest(None if is_tracking(status) else remaining, force_after, look_again),
    )


def is_tracking(status: FinetuneJobStatus) -> bool:
    """Tell whether a tracker is still to be told of the job, from its volume."""
    tracked = find_condition(status, ConditionType.TRACKED)
    return tracked is not None and tracked.status == "Unknown"


def _seconds_to_ttl(status: FinetuneJobStatus, situation: Situation) -> float | None:
    """Return when to clean up; None if that was done, or never is to be."""
    ttl, completed = situation.job.spec.ttl_seconds_after_finished, parse_time(status.completion_time)
    if ttl is None or completed is None or status.cleanup_time is not None:
        return None
    return (completed + timedelta(seconds=ttl) - situation.now).total_seconds()


def _remove(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Remove all that is not needed, until nothing of it was found any more; that is then noted for ever.

    Whether Jobs are left tells nothing: somebody may have removed them, and left the volume.
    """
    observed = situation.observed
    if observed.is_cleared and not observed.jobs and not observed.pods:
        return Decision(status=status.model_copy(update={"cleanup_time": format_time(situation.now)}))
    forced, force_after = force_stuck(observed.pods, situation.now)
    orphans = delete_orphans(observed, observed.pods, ended=True)
    jobs = delete_jobs(observed.jobs)
    return Decision(
        status=status,
        delete=(*_by_name(status, situation), *jobs, *orphans, *forced),
        requeue_after=soonest(CLEARED_SECONDS, force_after),
    )


def _by_name(status: FinetuneJobStatus, situation: Situation) -> tuple[Deletion, ...]:
    """Return the removal of what the operator does not watch.

    A volume with anything unpublished on it stays, and one that another job names: what that has there, or needs of it,
    is not known.
    """
    job = situation.job
    found = [
        Deletion(kind="Service", name=names.ranks_service(job)),
        *_delete_configs(situation.observed.jobs, names.run_config(job)),
        *delete_group(situation, attempt=status.attempt),
    ]
    storage = job.spec.storage
    is_kept = storage.existing_claim is not None or storage.retain == "Always"
    if not (is_kept or situation.observed.is_claim_shared) and is_true(status, ConditionType.PUBLISHED):
        found.append(Deletion(kind="PersistentVolumeClaim", name=names.own_workspace(job)))
    return tuple(found)


def _unfinished(status: FinetuneJobStatus, situation: Situation, *, age: float) -> tuple[list[JobView], list[JobView]]:
    """Return the Jobs to end now, and those that end by themselves because a pod of theirs has failed.

    The latter are left for a while: a failed Job keeps its pods, and with them the logs that tell the cause.
    """
    observed = situation.observed
    jobs = [job for job in observed.jobs if not job.is_finished and not job.is_deleting]
    if is_tracking(status):
        jobs = [job for job in jobs if job.role is not Role.TRACK or job.attempt]
    failing = [
        job
        for job in jobs
        if age < KEEP_LOGS_SECONDS and any(p.phase == "Failed" for p in observed.pods_of(job.role, attempt=job.attempt))
    ]
    return [job for job in jobs if job not in failing], failing


def delete_jobs(jobs: Iterable[JobView]) -> tuple[Deletion, ...]:
    """Return the removal of Jobs with their pods; of each the PodGroup first, which nobody would remove after it."""
    return tuple(
        deletion
        for job in jobs
        if not job.is_deleting
        for deletion in (
            *([Deletion(kind="PodGroup", name=job.name)] if job.is_gang_scheduled else []),
            Deletion(kind="Job", name=job.name, uid=job.uid),
        )
    )


def delete_group(situation: Situation, *, attempt: int) -> tuple[Deletion, ...]:
    """Return the removal of the PodGroup of a gang whose Job is gone: whoever has removed the Job has left it."""
    if attempt < 1 or not is_gang_scheduled(situation.job, platform=situation.platform):
        return ()
    return (Deletion(kind="PodGroup", name=names.train_job(situation.job, attempt)),)


def replace_jobs(jobs: Iterable[JobView], job: FinetuneJob) -> tuple[Deletion, ...]:
    """Return the removal of Jobs, and of what they were told where their successors are told something else."""
    removed = [one for one in jobs if not one.is_deleting]
    return (*delete_jobs(removed), *delete_outdated(removed, job))


def delete_outdated(jobs: Iterable[JobView], job: FinetuneJob) -> tuple[Deletion, ...]:
    """Return the removal of what Jobs were told that have ended or are going, unless their successors are told it."""
    return _delete_configs(one for one in jobs if one.config != names.run_config(job))


def _delete_configs(jobs: Iterable[JobView], *others: str) -> tuple[Deletion, ...]:
    found = dict.fromkeys([*others, *(job.config for job in jobs if job.config)])
    return tuple(Deletion(kind="ConfigMap", name=name) for name in found)


def release(observed: Observed) -> tuple[Deletion, ...]:
    """Return the removal of what a cluster's own containers hold though ours have ended and been heard.

    A Job whose pods have succeeded is not needed any more. Of one that repeats its pod, as prepare, the pod goes.
    """
    jobs, pods = [], []
    for job in observed.jobs:
        held = [pod for pod in observed.pods_of(job.role, attempt=job.attempt) if pod.is_held and pod.gone_at is None]
        done = [pod for pod in observed.pods_of(job.role, attempt=job.attempt) if pod.phase == "Succeeded"]
        if held and len(done) >= job.num_pods and not job.is_deleting:
            jobs.append(job)
        elif job.role != Role.TRAIN:
            pods += [Deletion(kind="Pod", name=pod.name, uid=pod.uid) for pod in held]
    return (*delete_jobs(jobs), *pods)


def force_stuck(pods: Iterable[PodView], now: datetime) -> tuple[tuple[Deletion, ...], float | None]:
    """Return which of the pods to remove without their kubelet, and the seconds until the next one should be gone.

    Only those whose node is dead: on a living one a process may still write, and hold its accelerator.
    """
    forced, waits = [], []
    for pod in pods:
        seconds = seconds_to_force(pod, now)
        if seconds is not None and seconds <= 0 and pod.is_node_dead:
            forced.append(Deletion(kind="Pod", name=pod.name, uid=pod.uid, is_forced=True))
        elif seconds is not None and seconds > 0:
            waits.append(seconds)
    return tuple(forced), soonest(*waits)


def is_gone(pod: PodView, now: datetime) -> bool:
    """Tell whether a pod has ended and only its object is left, which somebody's finalizer keeps."""
    seconds = seconds_to_force(pod, now)
    return pod.is_terminal and seconds is not None and seconds <= 0


def kept_jobs(situation: Situation) -> list[str]:
    """Return warnings of Jobs that were removed and that somebody's finalizer keeps."""
    return [
        f"Job {job.name} was removed and is kept by {', '.join(job.finalizers)}; whoever set that has to let it go"
        for job in situation.observed.jobs
        if job.finalizers and seconds_since(job.gone_at, situation.now) >= KEPT_SECONDS
    ]


def delete_orphans(observed: Observed, pods: Iterable[PodView], *, ended: bool = False) -> tuple[Deletion, ...]:
    """Return the removal of those of the pods whose Job is gone, as after `kubectl delete job --cascade=orphan`.

    Those that have `ended` hold nothing and keep their logs, unless they are asked for.
    """
    jobless = [pod for pod in pods if observed.job(pod.role, attempt=pod.attempt) is None]
    return tuple(
        Deletion(kind="Pod", name=pod.name, uid=pod.uid)
        for pod in jobless
        if pod.gone_at is None and (ended or not pod.is_terminal)
    )
