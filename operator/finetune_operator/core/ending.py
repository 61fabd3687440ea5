"""The end of a job: success, failure, and what is left to remove afterwards."""

from datetime import timedelta
from typing import Any

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core import names
from finetune_operator.core.conditions import Finding, is_true
from finetune_operator.core.decision import Decision, Deletion, Situation
from finetune_operator.core.failures import Failure
from finetune_operator.core.gang import seconds_to_force
from finetune_operator.core.observed import JobView, Observed
from finetune_operator.core.phases import in_phase, update_conditions
from finetune_operator.core.times import format_time, parse_time, seconds_since

KEEP_LOGS_SECONDS = 30.0


def fail(
    status: FinetuneJobStatus, situation: Situation, failure: Failure, aspect: ConditionType | None = None
) -> Decision:
    """Return the decision that ends the job as failed; `aspect` is the condition that this failure makes False."""
    reason, message = failure.reason, failure.message
    findings = [
        Finding(ConditionType.SUCCEEDED, "False", reason, message),
        Finding(ConditionType.FINISHED, "True", reason, message),
        Finding(ConditionType.RECONCILING, "False", reason),
        Finding(ConditionType.STALLED, "True", reason, message),
    ]
    if is_true(status, ConditionType.TRAINING):
        findings.append(Finding(ConditionType.TRAINING, "False", reason, message))
    findings += [Finding(aspect, "False", reason, message)] if aspect else []
    status = _completed(in_phase(status, situation, Phase.FAILED), situation)
    status = update_conditions(status, situation, *findings)
    return clean_up(status, situation)


def succeed(status: FinetuneJobStatus, situation: Situation, reason: Reason, message: str) -> Decision:
    """Return the decision that ends the job as succeeded."""
    status = _completed(in_phase(status, situation, Phase.SUCCEEDED), situation)
    status = update_conditions(
        status,
        situation,
        Finding(ConditionType.SUCCEEDED, "True", reason, message),
        Finding(ConditionType.FINISHED, "True", reason, message),
        Finding(ConditionType.RECONCILING, "False", reason),
        Finding(ConditionType.STALLED, "False", reason),
    )
    return clean_up(status, situation)


def _completed(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    update: dict[str, Any] = {"completion_time": status.completion_time or format_time(situation.now)}
    return status.model_copy(update=update)


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
    forced, force_after = force_stuck(situation)
    ended, ending_soon = _unfinished(situation, age=seconds_since(completed, now))
    look_again = KEEP_LOGS_SECONDS if ending_soon else None
    return Decision(
        status=status,
        delete=(*[job_deletion(job) for job in ended], *forced),
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


def force_stuck(
    situation: Situation, *, before_attempt: int | None = None
) -> tuple[tuple[Deletion, ...], float | None]:
    """Return the training pods to remove without their kubelet, and the seconds until the next one may be."""
    forced, waits = [], []
    for pod in _train_pods(situation.observed, before_attempt):
        seconds = seconds_to_force(pod, situation.now)
        if seconds is not None and seconds <= 0:
            forced.append(Deletion(kind="Pod", name=pod.name, uid=pod.uid, is_forced=True))
        elif seconds is not None:
            waits.append(seconds)
    return tuple(forced), soonest(*waits)


def _train_pods(observed: Observed, before_attempt: int | None) -> list[Any]:
    pods = [pod for pod in observed.pods if pod.role == Role.TRAIN]
    return [pod for pod in pods if before_attempt is None or pod.attempt < before_attempt]


def soonest(*seconds: float | None) -> float | None:
    """Return the least of the times that there are, at least a moment from now; None if there are none."""
    known = [value for value in seconds if value is not None]
    return max(0.5, min(known)) if known else None
