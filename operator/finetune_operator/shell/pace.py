"""How often progress is written: all jobs together share a budget, so that many at once do not load the API server.

The interval of each stretches with the number of jobs that train. A change of the phase is never held back by it. That
pods of a gang run one after another is progress, too.
"""

import random
import time
from collections.abc import Callable


class Pace:
    """When a status was last written, by job. `clock` is monotonic, `jitter()` between 0 and 1."""

    def __init__(
        self,
        *,
        seconds: float,
        writes_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._seconds = seconds
        self._writes_per_second = writes_per_second
        self._clock = clock
        self._jitter = jitter
        self._interval = seconds
        self._written_at: dict[str, float] = {}

    def share_among(self, num: int) -> None:
        """Let so many jobs share the budget from now on."""
        self._interval = max(self._seconds, num / self._writes_per_second)

    def seconds_to_due(self, uid: str, *, is_first: bool) -> float:
        """Return how long the progress of a job waits to be written; `is_first` if its status holds none yet.

        The first progress is written at once, unless there are so many jobs that it has to wait its turn. Of a
        job that was written by the process before this one nothing is known: it takes its turn at random, so that a
        start does not write all at once.
        """
        if is_first and self._interval <= self._seconds:
            return 0.0
        if uid not in self._written_at:
            self._written_at[uid] = self._clock() - self._jitter() * self._interval
        return max(0.0, self._interval - (self._clock() - self._written_at[uid]))

    def note_written(self, uid: str) -> None:
        """Note that the status of a job was written just now."""
        self._written_at[uid] = self._clock()

    def forget(self, uid: str) -> None:
        """Forget a job that has ended or is gone."""
        self._written_at.pop(uid, None)
