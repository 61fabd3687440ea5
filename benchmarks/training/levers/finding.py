"""One lever's figures."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

ROUNDS = 3


@dataclass(frozen=True)
class Finding:
    """What some work costs without and with a lever."""

    lever: str
    unit: str
    off: float
    on: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """Return how much better it is with the lever."""
        return self.off / self.on

    def as_row(self) -> list[str]:
        """Return the line of the table."""
        return [self.lever, self.unit, f"{self.off:.3g}", f"{self.on:.3g}", f"{self.ratio:.2f}", self.note]

    def as_dict(self) -> dict[str, Any]:
        """Return what is written as JSON."""
        return {**asdict(self), "ratio": self.ratio}


def seconds_of(
    *works: Callable[[], object], rounds: int = ROUNDS, clock: Callable[[], float] = time.process_time
) -> list[float]:
    """Return the median seconds of each piece of work; they run in turn.

    Unless another clock is given, only what this process computes counts: other work on the machine does not.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for taken, work in zip(seconds, works, strict=True):
            start = clock()
            work()
            taken.append(clock() - start)
    return [median(taken) for taken in seconds]
