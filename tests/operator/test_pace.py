"""How often progress is written when many train."""

from dataclasses import dataclass, field
from itertools import pairwise

from finetune_operator.shell.pace import Pace


@dataclass
class Minute:
    """Jobs that all answer every four seconds, written whenever that is due."""

    num: int
    has_progress: bool = False
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
        pace.share_among(len(uids))
        for second in range(0, seconds, 4):
            for index, uid in enumerate(uids):
                self.time = second + 4 * index / self.num
                if not pace.seconds_to_due(uid, is_first=not self.has_progress and uid not in self.written):
                    self.written.setdefault(uid, []).append(self.time)
                    pace.note_written(uid)
        return self

    def most_in_a_second(self, *, after: float = 0) -> float:
        times = [at for times in self.written.values() for at in times if at >= after]
        return max(sum(begin <= at < begin + 4 for at in times) for begin in range(int(after), 200)) / 4


def test_a_few_are_written_at_the_least_interval() -> None:
    written = Minute(num=1).play(40).written["uid-0"]

    assert written == [0, 12, 24, 36]


def test_a_thousand_that_are_found_by_a_new_process_take_turns_and_none_gets_older_than_a_minute() -> None:
    minute = Minute(num=1000, has_progress=True).play(200)

    gaps = [later - sooner for times in minute.written.values() for sooner, later in pairwise(times)]
    assert minute.most_in_a_second() <= 25
    assert max(gaps) <= 56
    assert len(minute.written) == 1000


def test_the_first_progress_of_a_job_is_written_at_once() -> None:
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: 0.0)

    assert pace.seconds_to_due("a", is_first=True) == 0


def test_the_first_progress_of_a_thousand_jobs_that_begin_at_once_takes_turns_too() -> None:
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: 100.0)
    pace.share_among(1000)
    pace.note_written("a")

    assert pace.seconds_to_due("a", is_first=True) == 50


def test_who_has_ended_is_forgotten() -> None:
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: 0.0)
    pace.note_written("a")

    before = pace.seconds_to_due("a", is_first=False)
    pace.forget("a")

    assert (before, pace._written_at) == (10, {})
