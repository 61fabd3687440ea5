"""A work queue by key: a key waits once however often it is added, and is never worked on twice at the same time."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

FIRST_DELAY_SECONDS = 0.5
LAST_DELAY_SECONDS = 300.0
#: However many keys go first, every so manyth is another one.
TURN = 4


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> None: ...

    def when(self) -> float: ...


class KeyedQueue:
    """Keys to work on, each at once, later, or again after a failure with growing delays.

    Keys for which `is_first(key)` holds when they are added are worked on before others: of many jobs that are created
    at once each gets its first sign of life, and its prepare pod, before the work on those ahead of it is all done.

    `call_later(seconds, callback, key)` and `clock` are the event loop's, or a test's. `jitter()` is between 0 and 1.
    """

    def __init__(
        self,
        *,
        call_later: Callable[..., Timer],
        jitter: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        is_first: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._call_later = call_later
        self._jitter = jitter
        self._clock = clock
        self._is_first = is_first
        self._first: dict[str, float] = {}
        self._others: dict[str, float] = {}
        self._num_got = 0
        self._busy: dict[str, float] = {}
        self._again: set[str] = set()
        self._timers: dict[str, Timer] = {}
        self._failures: dict[str, int] = {}
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._first) + len(self._others)

    def add(self, key: str) -> None:
        """Let `key` be worked on; once more, if it is being worked on now."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._first and key not in self._others:
            (self._first if self._is_first(key) else self._others)[key] = self._clock()
            self._ready.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Let `key` be worked on in so many seconds, unless that is due earlier anyway."""
        old = self._timers.get(key)
        timer = self._call_later(seconds, self._on_timer, key)
        if old is not None and old.when() <= timer.when():
            timer.cancel()
            return
        if old is not None:
            old.cancel()
        self._timers[key] = timer

    def _on_timer(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def get(self) -> tuple[str, float]:
        """Return the key whose turn it is and how long it has waited, once there is one; end with `done`."""
        while not len(self):
            self._ready.clear()
            await self._ready.wait()
        self._num_got += 1
        is_others_turn = not self._first or (self._others and self._num_got % TURN == 0)
        lane = self._others if is_others_turn else self._first
        key = next(iter(lane))
        since = lane.pop(key)
        self._busy[key] = self._clock()
        return key, self._busy[key] - since

    def done(self, key: str) -> None:
        """End the work on `key`."""
        self._busy.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def retry(self, key: str) -> float:
        """Let `key` be worked on again after a failure; return the delay, which doubles each time."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(LAST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**failures) * (1 + self._jitter() / 2)
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: str) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)

    def forget(self, key: str) -> None:
        """Drop what is known of a key that is gone."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def oldest_busy_seconds(self) -> float:
        """Return for how long the slowest worker has been at its key; 0 if none works."""
        return max((self._clock() - since for since in self._busy.values()), default=0.0)
