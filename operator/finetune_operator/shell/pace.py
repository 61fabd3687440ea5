"""How often progress is written: all jobs together share a budget, so that many at once do not load the API server.

The interval of each stretches with the number of jobs that train. A change of the phase is never held back by it.
"""

import random
import time
from collections.abc import Callable, Collection


class Pace:
    """When progress was last written, by job. `clock` is monotonic, `jitter()` between 0 and 1."""

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

    def share_among(self, uids: Collection[str]) -> None:
        """Let these jobs, and no others, share the budget from now on."""
        self._interval = max(self._seconds, len(uids) / self._writes_per_second)
        self._written_at = {uid: at for uid, at in self._written_at.items() if uid in uids}

    def is_due(self, uid: str, *, has_progress: bool) -> bool:
        """Tell whether the progress of a job may be written now; `has_progress` if its status holds some already.

        Of a job that was written by the process before this one nothing is known: it takes its turn at random, so that
        a start does not write all at once.
        """
        if uid not in self._written_at:
            if not has_progress:
                return True
            self._written_at[uid] = self._clock() - self._jitter() * self._interval
        return self._clock() - self._written_at[uid] >= self._interval

    def note_written(self, uid: str) -> None:
        """Note that the progress of a job was written just now."""
        self._written_at[uid] = self._clock()
