"""How long the next gang waits after one was lost: the more losses, the longer, so that a crash loop is no storm."""

from datetime import datetime

from finetune_api.status import RestartCounts
from finetune_operator.core.times import parse_time, seconds_since

STEP_SECONDS = 10
LONGEST_SECONDS = 300


def seconds_to_restart(restarts: RestartCounts, now: datetime) -> float:
    """Return the seconds until the next gang may be made: 0, 10, 20, 40, up to 300 after the last charged restart.

    Preemptions are charged to no budget, so they add nothing.
    """
    last = parse_time(restarts.last_time)
    return 0.0 if last is None else max(0.0, _delay(restarts) - seconds_since(last, now))


def _delay(restarts: RestartCounts) -> float:
    num_charged = restarts.user_errors + restarts.infrastructure
    return min(LONGEST_SECONDS, STEP_SECONDS * 2 ** (num_charged - 2)) if num_charged > 1 else 0
