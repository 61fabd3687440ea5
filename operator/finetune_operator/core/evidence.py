"""Reading finished Jobs: whether their evidence is complete, and what the containers of their pods said."""

from datetime import datetime

from finetune_api.contract import Role, RunResult
from finetune_api.status import ConditionType, FinetuneJobStatus
from finetune_operator.core.conditions import is_true
from finetune_operator.core.failures import Failure, find_failure
from finetune_operator.core.observed import JobView, Observed, PodView
from finetune_operator.core.times import seconds_since

# A Job's end and its pod's end come over different watches; the pod's may be a moment late.
EVIDENCE_SECONDS = 15


def lacks_evidence(observed: Observed, status: FinetuneJobStatus) -> bool:
    """Tell whether a Job has ended while none of its pods that we know has, and the status does not tell of it yet."""
    return any(
        job.is_finished
        and not job.is_deleting
        and not _is_told(job, status)
        and not any(pod.is_terminal for pod in observed.pods_of(job.role, attempt=job.attempt))
        for job in observed.jobs
    )


def _is_told(job: JobView, status: FinetuneJobStatus) -> bool:
    if job.role == Role.PREPARE:
        return is_true(status, ConditionType.VALIDATED)
    return job.role == Role.TRACK or (job.role == Role.TRAIN and job.attempt < status.attempt)


def is_waiting_for_evidence(job: JobView, pods: tuple[PodView, ...], now: datetime) -> bool:
    """Tell whether the Job has ended but the words of its last pod are still on their way."""
    if not job.is_finished:
        return False
    age = seconds_since(job.finished_at, now)
    wanted = "Succeeded" if job.is_complete else "Failed"
    return not any(pod.phase == wanted for pod in pods) and 0 <= age < EVIDENCE_SECONDS


def last_failure(job: JobView, pods: tuple[PodView, ...]) -> Failure | None:
    """Return why the last try failed; the earlier ones were repeated by the Job."""
    newest = _newest(pods)
    return find_failure([newest] if newest else [], job)


def results(pods: tuple[PodView, ...]) -> list[RunResult]:
    """Return what the containers of the newest pod said, init containers first."""
    newest = _newest(pods)
    if newest is None:
        return []
    terminations = [container.termination for container in newest.own_containers if container.termination]
    return [termination.result for termination in terminations if termination.result is not None]


def _newest(pods: tuple[PodView, ...]) -> PodView | None:
    return max((pod for pod in pods if pod.is_terminal), key=_ended_at, default=None)


def _ended_at(pod: PodView) -> float:
    times = [c.termination.finished_at for c in pod.own_containers if c.termination and c.termination.finished_at]
    return max((time.timestamp() for time in times), default=0.0)
