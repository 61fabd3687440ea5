"""How often progress is written: all jobs together share a budget, so that many at once do not load the API server.

The interval of each stretches with the number of jobs that prepare or train, and while writes take long: an API server
that is busy is left to those who create jobs and end them. A change of the phase is never held back by it. That pods of
a gang run one after another is progress, too.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

#: While an API server is busy, progress is left so much of the time of one who writes to it, one write after another.
SHARE = 0.5
#: However long writes take, none waits longer for it: with the time until its job is asked again that is a minute.
LONGEST_SECONDS = 50.0
#: What the newest write counts in the time that writes take: the last twenty count for two thirds.
WEIGHT = 0.05
#: What is left of the yielding each time that jobs are counted: if it ended at once, half of them would be due at once.
DECAY = 0.95


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
        self._seconds_per_write = 0.0
        self._seconds_for_each = 0.0
        self._num_under_way = 0
        self._busy_since = 0.0
        self._written_at: dict[str, float] = {}

    def share_among(self, num: int) -> None:
        """Let so many jobs share the budget from now on; called every few seconds."""
        self._seconds_for_each = max(self._seconds_per_write / SHARE, self._seconds_for_each * DECAY)
        yielding = min(LONGEST_SECONDS, num * self._seconds_for_each)
        self._interval = max(self._seconds, num / self._writes_per_second, yielding)

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

    @contextmanager
    def writing(self, uid: str, *, is_progress: bool) -> Iterator[None]:
        """Surround a write of a job's status, from whose success on the job waits anew; progress is measured, too."""
        with self._measuring() if is_progress else nullcontext():
            yield
        self._written_at[uid] = self._clock()

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Note how long a write takes, but for what others of its kind take: those are no sign of other work."""
        if not self._num_under_way:
            self._busy_since = self._clock()
        self._num_under_way += 1
        try:
            yield
        finally:
            self._num_under_way -= 1
            now = self._clock()
            self._seconds_per_write += WEIGHT * (now - self._busy_since - self._seconds_per_write)
            self._busy_since = now

    def forget(self, uid: str) -> None:
        """Forget a job that has ended or is gone."""
        self._written_at.pop(uid, None)
