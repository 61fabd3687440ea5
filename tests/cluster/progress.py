"""Tells a person what takes long; on standard error, since standard output belongs to scripts."""

import sys
import time


def say(text: str) -> None:
    """Print a line at once."""
    print(text, file=sys.stderr, flush=True)


class Counter:
    """Shows how far something is: in place on a terminal, else as a line every ten seconds."""

    def __init__(self, what: str, *, total: int) -> None:
        self._what, self._total = what, total
        self._count = 0
        self._shown_at = 0.0
        self._is_terminal = sys.stderr.isatty()

    def advance(self, doing: str) -> None:
        """Count one more; `doing` names it."""
        self._count += 1
        if time.monotonic() - self._shown_at < (0.2 if self._is_terminal else 10):
            return
        self._shown_at = time.monotonic()
        end = "\033[K\r" if self._is_terminal else "\n"
        print(
            f"  {self._count} of at most {self._total} {self._what}: {doing[:80]}", end=end, file=sys.stderr, flush=True
        )

    def finish(self) -> None:
        """Clear the line that was shown in place."""
        if self._is_terminal:
            print("\033[K", end="", file=sys.stderr, flush=True)
