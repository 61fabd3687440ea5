"""What a lost gang costs: which budget pays for the next one, how long that one waits, and when there is none.

Progress pays: a checkpoint that goes further than all before gives the budgets back. Without one each loss makes the
next gang wait longer, whoever is at fault, so that neither a crash loop nor a drain that never ends is a storm.
"""

from datetime import datetime
from enum import StrEnum

from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, LostAttempt, RestartCounts
from finetune_api.types import Retry
from finetune_operator.core.conditions import find_condition
from finetune_operator.core.failures import Failure
from finetune_operator.core.times import format_time, parse_time, seconds_since

STEP_SECONDS = 10
LONGEST_SECONDS = 300
#: What a gang does to itself. Twice in a row without a step in between, it will do so again; a node that is lost, a
#: rank that is killed or storage that is away for a while tells nothing of the next time.
OF_ITS_OWN = (
    Reason.PROGRESS_STALLED,
    Reason.PEER_LOST,
    Reason.TRAINER_ERROR,
    Reason.OUT_OF_MEMORY,
    Reason.LIMIT_EXCEEDED,
    Reason.INTERNAL_ERROR,
)


class Budget(StrEnum):
    """What a restart is charged to."""

    USER_ERRORS = "userErrors"
    INFRASTRUCTURE = "infrastructure"
    FREE = "free"


def budget_of(failure: Failure) -> Budget:
    """Return what a restart after this failure is charged to; free is what the API server has announced."""
    if failure.reason == Reason.PREEMPTED and failure.is_announced:
        return Budget.FREE
    is_infrastructure = GUIDANCE[failure.reason].fault == Fault.INFRASTRUCTURE
    return Budget.INFRASTRUCTURE if is_infrastructure else Budget.USER_ERRORS


def given_back(status: FinetuneJobStatus) -> RestartCounts:
    """Return what is spent, which is nothing where a checkpoint goes further than when the last gang was lost."""
    spent, step = status.restarts, status.checkpoint.step if status.checkpoint else 0
    return RestartCounts(total=spent.total, checkpoint_step=step) if step > spent.checkpoint_step else spent


def is_affordable(failure: Failure, *, spent: RestartCounts, retry: Retry) -> bool:
    """Tell whether the budget that pays for this failure has something left."""
    match budget_of(failure):
        case Budget.FREE:
            return True
        case Budget.INFRASTRUCTURE:
            return spent.infrastructure < retry.infrastructure
        case Budget.USER_ERRORS:
            return spent.user_errors < retry.user_errors


def charge(failure: Failure, spent: RestartCounts, *, now: datetime) -> RestartCounts:
    """Return the counts with one restart after this failure, decided now."""
    budget = budget_of(failure)
    return spent.model_copy(
        update={
            "user_errors": spent.user_errors + (budget is Budget.USER_ERRORS),
            "infrastructure": spent.infrastructure + (budget is Budget.INFRASTRUCTURE),
            "total": spent.total + (budget is not Budget.FREE),
            "without_progress": spent.without_progress + 1,
            "last_time": format_time(now),
        }
    )


def seconds_to_restart(restarts: RestartCounts, now: datetime) -> float:
    """Return the seconds until the next gang may be made: 0, 10, 20, 40, up to 300 after the last loss."""
    last, delay = parse_time(restarts.last_time), _delay(restarts)
    # A clock that was set back since then makes nobody wait for longer.
    return 0.0 if last is None else max(0.0, min(delay, delay - seconds_since(last, now)))


def _delay(restarts: RestartCounts) -> float:
    num_lost = restarts.without_progress
    return min(LONGEST_SECONDS, STEP_SECONDS * 2 ** (num_lost - 2)) if num_lost > 1 else 0


def record_loss(failure: Failure, status: FinetuneJobStatus, now: datetime) -> LostAttempt:
    """Return what stays of the gang of `status.attempt`."""
    before = status.last_failure.step if status.last_failure else 0
    return LostAttempt(
        attempt=status.attempt,
        reason=failure.reason,
        time=format_time(now),
        step=max(before, status.progress.step if status.progress else 0),
        rank=failure.node_rank if failure.rank is None else failure.rank,
        node=failure.node,
        lines=list(failure.lines),
    )


def is_hopeless(status: FinetuneJobStatus, lost: LostAttempt) -> bool:
    """Tell whether the gang before this one was lost in the same way, and this one has made no step more.

    Where rank 0 could not be asked nobody knows.
    """
    before, known = status.last_failure, find_condition(status, ConditionType.PROGRESS_KNOWN)
    if before is None or (known is not None and known.status == "False"):
        return False
    is_same = lost.reason == before.reason and lost.reason in OF_ITS_OWN
    return is_same and lost.attempt == before.attempt + 1 and lost.step <= before.step
