"""Gangs that do not run whole in time give their nodes back, and are made again in turn, smaller where they may be.

Kubernetes places pods one by one: two gangs that hold half of what each needs would wait for each other for ever. The
job that has tried least goes first, the older one among equals; its jitter comes from its uid, so that operators that
know nothing of each other do not try in step.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, GangReturnsStatus
from finetune_api.types import Resources
from finetune_operator.core.conditions import find_condition
from finetune_operator.core.decision import Situation
from finetune_operator.core.gang import Gang
from finetune_operator.core.observed import JobView
from finetune_operator.core.times import format_time, parse_time, seconds_since
from finetune_operator.core.waiting import LONG_PATIENCE_SECONDS

STEP_SECONDS = 30
LONGEST_SECONDS = 600
#: How soon to see whether the gang that goes first has had its turn.
TURN_SECONDS = 15
#: A gang that goes first has had its turn so long after its pods should run: one that holds no node stays as it is.
SLACK_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """A job whose gang was given back, and is to be made again."""

    name: str
    uid: str
    created_at: str
    """RFC 3339."""
    times: int
    timeout_seconds: int
    """How long its gang may hold nodes without being whole."""
    is_next: bool
    """It waits for its turn, and for nothing else."""

    @property
    def rank(self) -> tuple[int, str, str]:
        """Return its place in the order."""
        return (self.times, self.created_at, self.uid)


def find_ahead(job: Waiter, others: Iterable[tuple[Waiter, JobView | None]], now: datetime) -> str:
    """Return the name of the job whose gang is made before that of `job`, or is just being placed; empty if none is.

    The others come with the Job of their gang, if there is one.
    """
    ahead = [one for one, gang in others if one.rank < job.rank and _has_turn(one, gang, now)]
    return min(ahead, key=lambda one: one.rank).name if ahead else ""


def _has_turn(job: Waiter, gang: JobView | None, now: datetime) -> bool:
    if gang is None:
        return job.is_next
    age = seconds_since(gang.started_at, now)
    return not gang.is_suspended and not gang.is_finished and age < job.timeout_seconds + SLACK_SECONDS


def seconds_to_return(gang: Gang, status: FinetuneJobStatus, situation: Situation) -> float | None:
    """Return when a gang that does not run whole gives its nodes back; None while it holds none and may be no smaller.

    From when the last of its pods has a node, it has the whole time once more: images may be large.
    """
    nodes = [
        pod.scheduled_at for pod in (*gang.pods, *gang.leaving) if pod.scheduled_at is not None and not pod.is_terminal
    ]
    scheduled = find_condition(status, ConditionType.SCHEDULED)
    is_smallest = gang.num_nodes <= situation.job.spec.resources.gang_sizes[-1]
    if gang.is_queued or gang.job.started_at is None or scheduled is None or scheduled.status == "True":
        return None
    if is_smallest and not nodes:
        return None
    starts = [gang.job.started_at, parse_time(scheduled.last_transition_time)]
    starts += nodes if len(nodes) == gang.num_nodes else []
    start = max(time for time in starts if time is not None)
    return situation.job.spec.schedule.gang_timeout_seconds - seconds_since(start, situation.now)


def count_return(old: GangReturnsStatus | None, situation: Situation, gang: Gang, reason: Reason) -> GangReturnsStatus:
    """Return the count with this gang."""
    times = old.times + 1 if old else 1
    later = situation.now + timedelta(seconds=_delay(situation.job.metadata.uid, times))
    return GangReturnsStatus(
        times=times,
        reason=reason,
        since=old.since
        if old is not None and old.reason == reason
        else format_time(gang.job.started_at or situation.now),
        next_time=format_time(later),
    )


def is_out_of_patience(returns: GangReturnsStatus, now: datetime) -> bool:
    """Tell whether gangs in a row have waited for the user, of whom one alone would have been waited for as long."""
    is_users_move = GUIDANCE[Reason(returns.reason)].fault == Fault.USER
    return is_users_move and seconds_since(parse_time(returns.since), now) >= LONG_PATIENCE_SECONDS


def next_size(returns: GangReturnsStatus | None, resources: Resources) -> int:
    """Return of how many nodes the next gang is: of all, or of fewer with each gang in a row that was given back."""
    sizes = resources.gang_sizes
    return sizes[min(returns.times if returns is not None else 0, len(sizes) - 1)]


def describe_return(returns: GangReturnsStatus, resources: Resources) -> str:
    """Return how often that was so in a row, and when the next gang is made, for people."""
    again = f" ({returns.times} times in a row)" if returns.times > 1 else ""
    size = next_size(returns, resources)
    of_fewer = f", of {size} node{'s' if size > 1 else ''}," if size < resources.nodes else ""
    return f"The next one{of_fewer} is made at {returns.next_time}{again}"


def seconds_to_turn(status: FinetuneJobStatus, situation: Situation) -> float:
    """Return how long a gang that was given back is not made again yet; 0 once it may be."""
    if status.gang_returns is None:
        return 0.0
    wait = -seconds_since(parse_time(status.gang_returns.next_time), situation.now)
    if wait <= 0 and situation.observed.gang_ahead:
        return TURN_SECONDS
    return max(0.0, wait)


def _delay(uid: str, times: int) -> float:
    """Return 15 to 45 s after the first time, twice as much after the second, up to 5 to 15 min."""
    share = int.from_bytes(hashlib.sha256(f"{uid} {times}".encode()).digest()[:4]) / 2**32
    longest: float = min(LONGEST_SECONDS, STEP_SECONDS << (times - 1))
    return longest * (0.5 + share)
