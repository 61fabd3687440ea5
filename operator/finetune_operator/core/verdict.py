"""What the evidence about one attempt says: it has succeeded, is lost, is held back, starts or runs."""

from dataclasses import dataclass
from enum import StrEnum

from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.status import FinetuneJobStatus, Phase
from finetune_operator.core.decision import Situation
from finetune_operator.core.failures import Failure, deleted
from finetune_operator.core.gang import Gang
from finetune_operator.core.observed import ProgressReport
from finetune_operator.core.returning import seconds_to_return

#: What rank 0 told of the time before this operator asked is believed after so many seconds of answers without a step.
CONFIRM_SECONDS = 120.0


class State(StrEnum):
    """How a gang is."""

    SUCCEEDED = "Succeeded"
    LOST = "Lost"
    QUEUED = "Queued"
    STARTING = "Starting"
    OVERDUE = "Overdue"
    RUNNING = "Running"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a gang is, and why it is lost if it is."""

    state: State
    failure: Failure | None = None


def judge(gang: Gang, status: FinetuneJobStatus, situation: Situation) -> Verdict:
    """Return how the gang of `status.attempt` is."""
    if gang.has_succeeded:
        return Verdict(state=State.SUCCEEDED)
    if failure := gang.failure() or _stall(status, situation):
        return Verdict(state=State.LOST, failure=failure)
    if gang.is_queued:
        return Verdict(state=State.QUEUED)
    if gang.job.is_deleting:
        return Verdict(state=State.LOST, failure=deleted(gang.job.name))
    if gang.is_running:
        return Verdict(state=State.RUNNING)
    remaining = seconds_to_return(gang, status, situation)
    is_overdue = remaining is not None and remaining <= 0
    return Verdict(state=State.OVERDUE if is_overdue else State.STARTING)


def current_report(status: FinetuneJobStatus, situation: Situation) -> ProgressReport | None:
    """Return what rank 0 of the current attempt answered, if it was asked."""
    report = situation.observed.progress
    return report if report is not None and report.attempt == status.attempt else None


def _stall(status: FinetuneJobStatus, situation: Situation) -> Failure | None:
    """Return the failure of a gang whose rank 0 answers and makes no step. One that does not answer is left alone."""
    report, limit = current_report(status, situation), situation.job.spec.stall_timeout_seconds
    if status.phase != Phase.TRAINING or report is None or report.still_seconds < limit:
        return None
    if report.seen_still_seconds < min(limit, CONFIRM_SECONDS):
        return None
    message = f"rank 0 answers, but has shown no new step for {report.still_seconds:.0f} s. "
    next_step = GUIDANCE[Reason.PROGRESS_STALLED].next_step
    return Failure(reason=Reason.PROGRESS_STALLED, message=message + next_step, node_rank=0)
