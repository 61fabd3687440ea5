"""What a job leaves behind: accelerators freed at once, pods on silent nodes, everything after the TTL."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from finetune_api.status import FinetuneJobStatus
from finetune_operator.core import names
from finetune_operator.core.decision import Decision, Deletion, Situation
from finetune_operator.core.gang import seconds_to_force
from finetune_operator.core.observed import JobView, Observed, PodView
from finetune_operator.core.times import parse_time, seconds_since, soonest

KEEP_LOGS_SECONDS = 30.0


def clean_up(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Return what a finished job still needs: accelerators freed at once, everything removed after the TTL."""
    now = situation.now
    ttl = situation.job.spec.ttl_seconds_after_finished
    completed = parse_time(status.completion_time)
    if ttl is not None and completed is not None:
        remaining = (completed + timedelta(seconds=ttl) - now).total_seconds()
        if remaining <= 0:
            return Decision(status=status, delete=_everything(situation))
    else:
        remaining = None
    forced, force_after = force_stuck(situation.observed.pods, now)
    orphans = delete_orphans(situation.observed, situation.observed.pods)
    ended, ending_soon = _unfinished(situation, age=seconds_since(completed, now))
    look_again = KEEP_LOGS_SECONDS if ending_soon else None
    return Decision(
        status=status,
        delete=(*[job_deletion(job) for job in ended], *orphans, *forced),
        requeue_after=soonest(remaining, force_after, look_again),
    )


def _unfinished(situation: Situation, *, age: float) -> tuple[list[JobView], list[JobView]]:
    """Return the Jobs to end now, and those that end by themselves because a pod of theirs has failed.

    The latter are left for a while: a failed Job keeps its pods, and with them the logs that tell the cause.
    """
    observed = situation.observed
    jobs = [job for job in observed.jobs if not job.is_finished and not job.is_deleting]
    failing = [
        job
        for job in jobs
        if age < KEEP_LOGS_SECONDS and any(p.phase == "Failed" for p in observed.pods_of(job.role, attempt=job.attempt))
    ]
    return [job for job in jobs if job not in failing], failing


def _everything(situation: Situation) -> tuple[Deletion, ...]:
    """Return all children; the Jobs last, since their presence tells that something is left to remove."""
    job, jobs = situation.job, situation.observed.jobs
    if not jobs:
        return ()
    nameless = [
        Deletion(kind="Service", name=names.ranks_service(job)),
        Deletion(kind="ConfigMap", name=names.run_config(job)),
    ]
    if job.spec.storage.existing_claim is None:
        nameless.append(Deletion(kind="PersistentVolumeClaim", name=names.own_workspace(job)))
    return (*nameless, *[job_deletion(child) for child in jobs if not child.is_deleting])


def job_deletion(job: JobView) -> Deletion:
    """Return the removal of a Job with its pods."""
    return Deletion(kind="Job", name=job.name, uid=job.uid)


def force_stuck(pods: Iterable[PodView], now: datetime) -> tuple[tuple[Deletion, ...], float | None]:
    """Return which of the pods to remove without their kubelet, and the seconds until the next one may be."""
    forced, waits = [], []
    for pod in pods:
        seconds = seconds_to_force(pod, now)
        if seconds is not None and seconds <= 0:
            forced.append(Deletion(kind="Pod", name=pod.name, uid=pod.uid, is_forced=True))
        elif seconds is not None:
            waits.append(seconds)
    return tuple(forced), soonest(*waits)


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
