"""Seconds per phase. A phase inside another one takes its time out of it, so that phases add up."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

BASELINE, DATA_WAIT, STEP, EVALUATION, SAVE, LOOP, LOAD = (
    "baseline",
    "data wait",
    "forward and backward",
    "evaluation",
    "save",
    "optimizer and loop",
    "load, start and end",
)


class Stopwatch:
    """Measures one thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._clock = clock
        self._inside: list[str] = []
        self._since = clock()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Be in phase `name` while inside."""
        self._note()
        self._inside.append(name)
        try:
            yield
        finally:
            self._note()
            self._inside.pop()

    def time_method(self, owner: type, method: str, phase: str) -> None:
        """Let every call of `owner.method` from now on count as `phase`; what it does stays the same."""
        original = getattr(owner, method)

        @functools.wraps(original)
        def timed(*arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - whatever the method takes
            with self.phase(phase):
                return original(*arguments, **settings)

        setattr(owner, method, timed)

    def _note(self) -> None:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()  # what was only asked for belongs to the phase that asked
        before, self._since = self._since, self._clock()
        if self._inside:
            self.seconds[self._inside[-1]] += self._since - before
