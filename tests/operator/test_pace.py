"""How often progress is written when many train."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise

from finetune_operator.shell.pace import Pace


@dataclass
class Minute:
    """Jobs that all answer every four seconds, written whenever that is due."""

    num: int
    has_progress: bool = False
    write_seconds: Callable[[float], float] = lambda _: 0.0
    """How long a write takes at a time; others wait meanwhile."""
    time: float = 0.0
    written: dict[str, list[float]] = field(default_factory=dict)

    def play(self, seconds: int) -> "Minute":
        turns = iter(range(1_000_000))
        pace = Pace(
            seconds=10,
            writes_per_second=20,
            clock=lambda: self.time,
            jitter=lambda: 617 * next(turns) % self.num / self.num,
        )
        uids = [f"uid-{index}" for index in range(self.num)]
        while self.time < seconds:
            second = self.time
            pace.share_among(len(uids))
            for index, uid in enumerate(uids):
                self.time = max(self.time, second + 4 * index / self.num)
                if not pace.seconds_to_due(uid, is_first=not self.has_progress and uid not in self.written):
                    with pace.writing(uid, is_progress=True):
                        self.time += self.write_seconds(self.time)
                    self.written.setdefault(uid, []).append(self.time)
            self.time = max(self.time, second + 4)
        return self

    def num_written(self, begin: float, end: float) -> int:
        return sum(begin <= at < end for times in self.written.values() for at in times)

    def longest_gap(self) -> float:
        return max(later - sooner for times in self.written.values() for sooner, later in pairwise(times))

    def most_in_a_second(self) -> float:
        return max(self.num_written(begin, begin + 4) for begin in range(int(self.time))) / 4


def test_a_few_are_written_at_the_least_interval() -> None:
    written = Minute(num=1).play(40).written["uid-0"]

    assert written == [0, 12, 24, 36]


def test_a_thousand_that_are_found_by_a_new_process_take_turns_and_none_gets_older_than_a_minute() -> None:
    minute = Minute(num=1000, has_progress=True).play(200)

    assert minute.most_in_a_second() <= 25
    assert minute.longest_gap() <= 56
    assert len(minute.written) == 1000


def test_the_first_progress_of_a_job_is_written_at_once() -> None:
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: 0.0)

    assert pace.seconds_to_due("a", is_first=True) == 0


def test_the_first_progress_of_a_thousand_jobs_that_begin_at_once_takes_turns_too() -> None:
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: 100.0)
    pace.share_among(1000)
    with pace.writing("a", is_progress=True):
        pass

    assert pace.seconds_to_due("a", is_first=True) == 50


def test_a_busy_api_server_gives_half_of_a_writers_time_to_progress_and_none_gets_older_than_a_minute() -> None:
    minute = Minute(num=100, has_progress=True, write_seconds=lambda _: 0.2).play(400)

    assert minute.num_written(200, 400) <= 200 * 0.5 / 0.2
    assert Minute(num=400, has_progress=True, write_seconds=lambda _: 0.1).play(400).longest_gap() <= 60


def test_a_few_writes_that_take_long_stretch_nothing() -> None:
    minute = Minute(num=3, has_progress=True, write_seconds=lambda _: 1.0).play(400)

    assert minute.longest_gap() <= 15


def test_an_api_server_that_has_time_again_gets_back_what_it_had_little_by_little() -> None:
    time = [0.0]
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: time[0])

    def share_after_writes_of(seconds: float) -> float:
        for _ in range(200):
            with pace.writing("a", is_progress=True):
                time[0] += seconds
        pace.share_among(500)
        return pace.seconds_to_due("a", is_first=False)

    due = [share_after_writes_of(0.06), *(share_after_writes_of(0.01) for _ in range(60))]

    assert due[0] == 50
    assert due[-1] == 25
    assert all(0.94 < later / sooner <= 1 for sooner, later in pairwise(due))


def test_writes_at_once_that_wait_for_each_other_are_no_sign_of_other_work() -> None:
    time = [0.0]
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: time[0])

    for _ in range(100):
        with ExitStack() as batch:
            for number in range(30):
                batch.enter_context(pace.writing(f"uid-{number}", is_progress=True))
            time[0] += 30 * 0.01
    pace.share_among(200)

    assert pace._interval == 10


def test_what_is_no_progress_is_not_measured() -> None:
    time = [0.0]
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: time[0])

    with pace.writing("a", is_progress=False):
        time[0] = 30.0
    pace.share_among(10)

    assert (pace._written_at, pace._interval) == ({"a": 30.0}, 10)


def test_a_write_that_fails_tells_how_long_it_took_and_is_due_as_before() -> None:
    time = [0.0]
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: time[0])

    with suppress(TimeoutError), pace.writing("a", is_progress=True):
        time[0] = 30.0
        raise TimeoutError
    pace.share_among(10)

    assert (pace._written_at, pace._interval) == ({}, 30.0)


def test_who_has_ended_is_forgotten() -> None:
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: 0.0)
    with pace.writing("a", is_progress=True):
        pass

    before = pace.seconds_to_due("a", is_first=False)
    pace.forget("a")

    assert (before, pace._written_at) == (10, {})
