"""Ctrl-C and its kin: the first one asks the role that runs to save and end, the second one ends everything at once."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from types import FrameType

import psutil  # type: ignore[import-untyped]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """True once the user wants the run to end."""

    def __init__(self) -> None:
        self._asked = False
        self._news: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __bool__(self) -> bool:
        return self._asked

    def take_news(self) -> list[str]:
        """Return what the user should be told since the last call; a signal handler must not write itself."""
        news, self._news = self._news, []
        return news

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while inside, but those that are ignored, as under nohup; call from the main thread."""
        taken = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def reaching(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Pass the wish on to `process` while inside; leave nothing of it behind."""
        self._process = process
        if self._asked:
            process.terminate()
        try:
            yield
        finally:
            self._process = None
            kill_family(process)
            process.wait()

    def ask(self) -> None:
        """Ask the role that runs to save and end; if it was asked before, end it and all that it started at once."""
        asked, self._asked = self._asked, True  # before it looks for a process, which looks for this when it is there
        process = self._process
        if asked and process is not None:
            self._news.append("Ending at once.")
            kill_family(process)
        elif process is not None:
            self._news.append("Stopping: what is done is saved first. Ctrl-C again ends at once.")
            process.terminate()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ask()


def kill_family(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything that it started, if it has not ended."""
    if process.poll() is not None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
