"""Starts processes that outlive the driver, and finds and stops them again by what was recorded of them."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.ending import kill
from tests.cluster.paths import LOGS, RUN

RECORDS = RUN / "processes"
# The group of every process that belongs to no node.
GROUP = "control-plane"
STANDARD_ERROR = 2


def start(
    name: str, argv: Sequence[str | Path], *, environment: dict[str, str] | None = None, group: str = GROUP
) -> None:
    """Start `argv` in a session of its own, logging to `name`.log; does nothing if it runs already.

    It joins its control group at once: whatever happens to the driver's records, it and its children can be found and
    ended by their group.
    """
    if is_running(name):
        return
    RECORDS.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    command = [*map(str, argv)]
    folder = cgroups.create(group)
    log = LOGS / f"{name}.log"
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _open_descriptors()),
    ]
    # No subprocess.Popen: that one warns when it is forgotten while its process lives, which is what is wanted here.
    pid = os.posix_spawnp(command[0], command, os.environ | (environment or {}), file_actions=files, setsid=True)
    cgroups.join(folder, pid)
    _write_record(name, pid)


def is_running(name: str) -> bool:
    """Whether the recorded process of that name lives: same number, same start, no zombie."""
    return pid_of(name) is not None


def life_of(name: str) -> str:
    """Return a text that is another one after each start of that name; empty if it was never started."""
    path = RECORDS / f"{name}.json"
    return path.read_text() if path.exists() else ""


def boot_id() -> str:
    """Return a text that is another one after each boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stop(name: str, *, grace_seconds: float = 10) -> None:
    """End the process: politely, then after `grace_seconds` for certain."""
    pid = pid_of(name)
    if pid is not None:
        kill([pid], first=signal.SIGTERM, grace_seconds=grace_seconds)
    (RECORDS / f"{name}.json").unlink(missing_ok=True)


def tail(name: str, *, lines: int = 15) -> str:
    """Return the end of the log of that name, for an error message."""
    log = LOGS / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def _open_descriptors() -> list[int]:
    """Return what the driver has open beside standard streams: a lock or a pipe that it was given ends with it."""
    return [number for path in Path("/proc/self/fd").iterdir() if (number := int(path.name)) > STANDARD_ERROR]


def _write_record(name: str, pid: int) -> None:
    record = {"pid": pid, "startTicks": _start_ticks(pid), "bootId": boot_id()}
    unfinished = RECORDS / f"{name}.unfinished"
    unfinished.write_text(json.dumps(record))
    unfinished.rename(RECORDS / f"{name}.json")


def pid_of(name: str) -> int | None:
    """Return the number of the process of that name, None if it does not run."""
    path = RECORDS / f"{name}.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    pid, ticks = int(record["pid"]), record["startTicks"]
    # After a reboot another process may have the number, and the ticks count from the boot.
    is_ours = record.get("bootId") == boot_id() and ticks is not None and _start_ticks(pid) == ticks
    return pid if is_ours else None


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the program's name before it may hold spaces
    return None if state == "Z" else int(fields[18])
