"""What a role that runs is doing: prepare and training say so over HTTP, the others in their logs."""

import contextlib
import http.client
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from finetune_api.contract import Progress, Role
from finetune_cli.local.roles import RoleProcess

_LOOK_EVERY_SECONDS = 0.5
_TAIL_BYTES = 4096
_EVERY_EVENTS = frozenset({"time", "level", "role", "event", "traceback", "result", "commit"})
_WORTH_TELLING_BYTES = 100_000_000


@dataclass(frozen=True)
class Sight:
    """A look at a role."""

    role: Role
    seconds: float
    """Since it was started."""
    progress: Progress | None = None
    """Of train, as far as it answers; of prepare, while it counts rows."""
    event: str = ""
    """Otherwise the newest event in its log, and how much of the model is there."""


def follow(running: RoleProcess) -> Iterator[Sight]:
    """Yield a look at the role every half a second until it has ended."""
    started = time.monotonic()
    progress: Progress | None = None
    while running.process.poll() is None:
        seconds = time.monotonic() - started
        if running.role in (Role.PREPARE, Role.TRAIN):
            progress = ask(running.telemetry_port, attempt=running.attempt) or progress
        if running.role is Role.TRAIN or (progress is not None and progress.progress.total_rows):
            yield Sight(running.role, seconds, progress=progress)
        else:
            parts = [newest_event(running.log), *model_size(running)]
            yield Sight(running.role, seconds, event=", ".join(filter(None, parts)))
        _wait(running)


def _wait(running: RoleProcess) -> None:
    deadline = time.monotonic() + _LOOK_EVERY_SECONDS
    while running.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def ask(port: int, *, attempt: int) -> Progress | None:
    """Return what the role answers, None while it does not; no proxy is asked, unlike with urllib."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/progress")
        progress = Progress.model_validate_json(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValidationError):
        return None
    finally:
        connection.close()
    return progress if progress.attempt == attempt else None


def newest_event(log: Path) -> str:
    """Return the event in the last whole line of a log of JSON lines, with its fields; nothing before the first."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and "event" in entry:
                fields = [f"{name} {value}" for name, value in entry.items() if name not in _EVERY_EVENTS]
                return " ".join([entry["event"], *fields])
    return ""


def model_size(running: RoleProcess) -> list[str]:
    """Return how much of a large base model is on the disk while it is fetched; the client logs whole files only."""
    if running.role is not Role.PREPARE:
        return []
    total = bytes_below(running.base_model)
    return [f"model {total / 1e9:.1f} GB"] if total >= _WORTH_TELLING_BYTES else []


def bytes_below(folder: Path) -> int:
    """Return the size of all files below `folder`, those left out that somebody removes meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):  # unlike rglob, it passes over folders that vanish
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(parent) / name).lstat().st_size
    return total
