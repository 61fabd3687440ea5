"""The last lines of a rank that failed, added to its pod's last words: a volume is not always at hand."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from finetune_api.contract import Role, RunResult
from finetune_api.reasons import GUIDANCE, Fault
from finetune_api.status import LINE_LENGTH, MAX_LINES
from finetune_trainer.workspace import logs


def add_last_lines(tails: Mapping[Path, bytes | bytearray], *, message: Path, log: Path) -> None:
    """Add the last lines of the rank that failed to the termination message at `message`; does nothing after a success.

    Args:
        tails: the end of what each rank has said, by its log.
        message: where the role has left its last words.
        log: of the pod's first rank.

    """
    with contextlib.suppress(OSError, ValidationError):
        result = RunResult.model_validate_json(message.read_bytes())
        if result.role is not Role.TRAIN or GUIDANCE[result.reason].fault is Fault.NOBODY:
            return
        own = log if result.failed_rank is None else log.with_name(f"rank-{result.failed_rank}.log")
        lines = last_lines(bytes(tails.get(own, b"")))
        message.write_text(result.model_copy(update={"last_lines": lines}).to_termination_message(), encoding="utf-8")


def last_lines(tail: bytes) -> list[str]:
    """Return the last lines as people read them: of a JSON line its event, its detail and its traceback."""
    redact = logs.redaction([])
    told = [part for line in tail.decode(errors="replace").splitlines() for part in _told(line)]
    return [redact(line)[:LINE_LENGTH] for line in told if line.strip()][-MAX_LINES:]


def _told(line: str) -> list[str]:
    try:
        entry = json.loads(line)
    except ValueError:
        return [line]
    if not isinstance(entry, dict) or "event" not in entry:
        return [line]
    if "result" in entry:  # what is added to
        return []
    words = [str(entry[name]) for name in ("event", "detail") if name in entry]
    return [*str(entry.get("traceback", "")).splitlines(), ": ".join(words)]
