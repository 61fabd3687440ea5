"""Runs a command to its end and tells how long it took and how much memory its processes held together."""

import math
import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

SAMPLE_SECONDS = 0.5
LOG_TAIL = 3000


@dataclass(frozen=True)
class Ran:
    """A command that ended well."""

    seconds: float
    cpu_seconds: float
    """Of all its processes; what is left to compare by where others compute on the same cores."""
    peak_bytes: int
    """Resident memory of all its processes together, at its highest; sampled. Pages that several share count once."""


def launch(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, exit_code: int = 0, seconds: float = math.inf
) -> Ran:
    """Run `command` with its output in `log`, so many seconds at most.

    Raises:
        SystemExit: it did not end as it should, or not in time; with the end of its log.

    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start, cpu_start, peak = time.perf_counter(), _cpu_seconds(), 0
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        tree = psutil.Process(process.pid)
        try:
            while not _ended(process):
                peak = max(peak, _resident_bytes(tree))
                if time.perf_counter() - start > seconds:
                    _kill(tree)
        except BaseException:
            _kill(tree)
            raise
    taken = time.perf_counter() - start
    if process.returncode != exit_code:
        ended = f"{' '.join(command)} ended with {process.returncode} after {taken:.0f} s"
        raise SystemExit(f"{ended}:\n{log.read_text()[-LOG_TAIL:]}")
    return Ran(seconds=taken, cpu_seconds=_cpu_seconds() - cpu_start, peak_bytes=peak)


def _cpu_seconds() -> float:
    """Return what all processes that this one has waited for have computed, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _ended(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(SAMPLE_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _resident_bytes(tree: psutil.Process) -> int:
    """Return the memory that a process and its children hold; pages that several of them share count once."""
    total = 0
    for process in _processes(tree):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def _processes(tree: psutil.Process) -> list[psutil.Process]:
    try:
        return [tree, *tree.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _kill(tree: psutil.Process) -> None:
    for process in _processes(tree):
        process.kill()
