"""When a checkpoint is due by the clock."""

import math
import time
from collections.abc import Callable

#: After which the first one is due: what goes wrong goes wrong early.
FIRST_SECONDS = 5 * 60.0


class CheckpointTimer:
    """Counts from the newest checkpoint, whatever it was made for."""

    def __init__(self, *, every_minutes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_seconds = 60.0 * every_minutes
        self._clock = clock
        self._due = math.inf

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        return self._clock() >= self._due

    def start(self) -> None:
        """Count from now on to the first one."""
        self._due = self._clock() + min(FIRST_SECONDS, self._every_seconds)

    def restart(self) -> None:
        """Count from now on to the next one."""
        self._due = self._clock() + self._every_seconds
