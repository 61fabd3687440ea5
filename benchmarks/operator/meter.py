"""Whose CPU time a figure is: the operator's, the control plane's, the benchmark's own, or that of other work."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.operator.figure import Figure

SELF = "players and measuring"
OTHERS, IDLE = "other work on the machine", "idle"
TICKS = os.sysconf("SC_CLK_TCK")
#: Of the first line of /proc/stat.
USER_TO_SYSTEM, IDLE_AND_IO, INTERRUPTS = slice(0, 3), slice(3, 5), slice(5, 8)


@dataclass
class Meter:
    """CPU seconds by whose they are; `pids` names the processes that run at a time."""

    pids: Callable[[], Mapping[str, int]]
    seconds: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure meanwhile."""
        before = self._read()
        yield
        self.seconds.update({name: value - before.get(name, 0.0) for name, value in self._read().items()})

    def _read(self) -> dict[str, float]:
        used = {name: cpu_seconds(pid) for name, pid in self.pids().items()} | {SELF: cpu_seconds(os.getpid())}
        machine = [int(ticks) / TICKS for ticks in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        busy = sum(machine[USER_TO_SYSTEM]) + sum(machine[INTERRUPTS])
        return used | {OTHERS: busy - sum(used.values()), IDLE: sum(machine[IDLE_AND_IO])}

    def figures(self, what: str) -> list[Figure]:
        """Return the share of each in the CPU time of the machine."""
        whole = sum(self.seconds.values())
        return [Figure(f"CPU, {what}: {name}", 100 * used / whole, "%") for name, used in self.seconds.items()]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
