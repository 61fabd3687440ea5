"""What a lost gang costs: which budget pays for the next one, and how long that one waits.

The more losses, the longer the wait, so that a crash loop is no storm.
"""

from datetime import datetime
from enum import StrEnum

from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import RestartCounts
from finetune_api.types import Retry
from finetune_operator.core.failures import Failure
from finetune_operator.core.times import format_time, parse_time, seconds_since

STEP_SECONDS = 10
LONGEST_SECONDS = 300


class Budget(StrEnum):
    """What a restart is charged to."""

    USER_ERRORS = "userErrors"
    INFRASTRUCTURE = "infrastructure"
    FREE = "free"


def budget_of(failure: Failure) -> Budget:
    """Return what a restart after this failure is charged to; announced preemptions are free."""
    if failure.reason == Reason.PREEMPTED:
        return Budget.FREE
    is_infrastructure = GUIDANCE[failure.reason].fault == Fault.INFRASTRUCTURE
    return Budget.INFRASTRUCTURE if is_infrastructure else Budget.USER_ERRORS


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
    if budget is Budget.FREE:
        return spent
    user_errors = spent.user_errors + (budget is Budget.USER_ERRORS)
    infrastructure = spent.infrastructure + (budget is Budget.INFRASTRUCTURE)
    return RestartCounts(
        user_errors=user_errors,
        infrastructure=infrastructure,
        total=user_errors + infrastructure,
        last_time=format_time(now),
    )


def seconds_to_restart(restarts: RestartCounts, now: datetime) -> float:
    """Return the seconds until the next gang may be made: 0, 10, 20, 40, up to 300 after the last charged restart.

    Preemptions are charged to no budget, so they add nothing.
    """
    last, delay = parse_time(restarts.last_time), _delay(restarts)
    # A clock that was set back since then makes nobody wait for longer.
    return 0.0 if last is None else max(0.0, min(delay, delay - seconds_since(last, now)))


def _delay(restarts: RestartCounts) -> float:
    num_charged = restarts.user_errors + restarts.infrastructure
    return min(LONGEST_SECONDS, STEP_SECONDS * 2 ** (num_charged - 2)) if num_charged > 1 else 0
