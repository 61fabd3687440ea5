"""The time of day, without its steps: a clock that is set must not make anybody look late."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

#: So much faster or slower than the monotonic clock at the most, until the time of day is right again.
MOST_CORRECTION = 0.5


class SteadyClock:
    """Follows the time of day, a step of it only bit by bit: no duration comes out at half as long again or more.

    The time of day is needed, since statuses outlive the process; it decides about patience, pauses and limits.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._shown = wall()
        self._asked_at = monotonic()

    def now(self) -> datetime:
        """Return the time; later calls never return an earlier one."""
        asked_at = self._monotonic()
        elapsed, self._asked_at = asked_at - self._asked_at, asked_at
        limit = MOST_CORRECTION * elapsed
        correction = self._wall() - self._shown - elapsed
        self._shown += elapsed + max(-limit, min(limit, correction))
        return datetime.fromtimestamp(0, tz=UTC) + timedelta(seconds=self._shown)
