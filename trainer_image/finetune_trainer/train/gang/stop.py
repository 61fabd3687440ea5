"""The wish to stop early: from the supervisor (a file, seen also by a process that is still starting) or a signal."""

import signal
from pathlib import Path
from types import FrameType


class StopRequest:
    """True once somebody wants this process to save and end. Says what this rank knows; agree before acting on it."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._signalled = False

    def listen(self) -> None:
        """Take SIGTERM as a request instead of dying of it; call from the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def __bool__(self) -> bool:
        return self._signalled or (self._file is not None and self._file.exists())

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True
