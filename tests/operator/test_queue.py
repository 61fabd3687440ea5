"""The queue: a key waits once, is never worked on twice at a time, and comes back after failures."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from finetune_operator.shell.queue import KeyedQueue


@dataclass
class FakeTimer:
    """A call that is due at a time."""

    due: float
    call: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def when(self) -> float:
        return self.due


@dataclass
class FakeLoop:
    """A clock with timers, moved by hand."""

    time: float = 0.0
    timers: list[FakeTimer] = field(default_factory=list)

    def call_later(self, seconds: float, callback: Callable[[str], None], key: str) -> FakeTimer:
        timer = FakeTimer(due=self.time + seconds, call=lambda: callback(key))
        self.timers.append(timer)
        return timer

    def clock(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds
        due = [timer for timer in self.timers if timer.due <= self.time]
        self.timers = [timer for timer in self.timers if timer.due > self.time]
        for timer in due:
            if not timer.is_cancelled:
                timer.call()


def new_queue() -> tuple[KeyedQueue, FakeLoop]:
    loop = FakeLoop()
    return KeyedQueue(call_later=loop.call_later, jitter=lambda: 0.0, clock=loop.clock), loop


async def drain(queue: KeyedQueue) -> list[str]:
    found = []
    while len(queue):
        key, _ = await queue.get()
        found.append(key)
        queue.done(key)
    return found


async def test_a_key_added_often_is_worked_on_once() -> None:
    queue, _ = new_queue()

    for key in "abab":
        queue.add(key)

    assert await drain(queue) == ["a", "b"]


async def test_some_keys_go_first_and_the_others_still_have_their_turn() -> None:
    loop = FakeLoop()
    queue = KeyedQueue(call_later=loop.call_later, jitter=lambda: 0.0, clock=loop.clock, is_first=str.isupper)

    for key in "abABCDEa":
        queue.add(key)

    assert await drain(queue) == ["A", "B", "C", "a", "D", "E", "b"]


async def test_a_key_added_while_it_is_worked_on_comes_once_more_and_not_before_the_end() -> None:
    queue, _ = new_queue()
    queue.add("a")
    await queue.get()

    queue.add("a")
    queue.add("a")
    waiting = len(queue)
    queue.done("a")

    assert waiting == 0
    assert await drain(queue) == ["a"]


async def test_a_worker_that_waits_is_woken() -> None:
    queue, _ = new_queue()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)

    queue.add("a")

    assert await worker == ("a", 0.0)


async def test_waiting_time_is_told() -> None:
    queue, loop = new_queue()
    queue.add("a")
    loop.advance(3)

    assert await queue.get() == ("a", 3.0)


async def test_of_two_delays_the_sooner_counts() -> None:
    queue, loop = new_queue()
    queue.add_after("a", 60)
    queue.add_after("a", 10)
    queue.add_after("a", 30)

    loop.advance(10)
    first = await drain(queue)
    loop.advance(100)
    later = await drain(queue)

    assert (first, later) == (["a"], [])


async def test_failures_double_the_delay_up_to_five_minutes_and_a_success_forgets_them() -> None:
    queue, _ = new_queue()

    delays = [queue.retry("a") for _ in range(12)]
    queue.succeeded("a")
    afterwards = queue.retry("a")

    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == 300.0
    assert afterwards == 0.5


async def test_jitter_spreads_retries() -> None:
    loop = FakeLoop()
    queue = KeyedQueue(call_later=loop.call_later, jitter=lambda: 1.0, clock=loop.clock)

    assert queue.retry("a") == 0.75


async def test_a_forgotten_key_does_not_come_back() -> None:
    queue, loop = new_queue()
    queue.add_after("a", 10)

    queue.forget("a")
    loop.advance(20)

    assert len(queue) == 0


async def test_the_slowest_worker_is_known() -> None:
    queue, loop = new_queue()
    queue.add("a")
    await queue.get()
    loop.advance(42)

    assert queue.oldest_busy_seconds() == 42
