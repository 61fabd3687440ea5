"""A time of day that is set while the operator runs."""

from dataclasses import dataclass
from datetime import datetime

import pytest

from finetune_operator.shell.clock import SteadyClock
from tests.operator.given import T0


@dataclass
class Times:
    """Both clocks of a machine."""

    wall: float = T0.timestamp()
    monotonic: float = 1000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def a_clock() -> tuple[SteadyClock, Times]:
    times = Times()
    return SteadyClock(wall=lambda: times.wall, monotonic=lambda: times.monotonic), times


def look_each_second(clock: SteadyClock, times: Times, *, seconds: int) -> datetime:
    for _ in range(seconds):
        times.pass_by(1)
        clock.now()
    return clock.now()


def test_without_steps_it_is_the_time_of_day() -> None:
    clock, times = a_clock()

    look_each_second(clock, times, seconds=100)

    assert clock.now().timestamp() == pytest.approx(times.wall)


@pytest.mark.parametrize("step", [1800.0, 86400.0, -1800.0, -86400.0])
def test_after_a_step_a_minute_is_still_about_a_minute(step: float) -> None:
    clock, times = a_clock()
    before = clock.now()

    times.wall += step
    at_once = clock.now()
    later = look_each_second(clock, times, seconds=60)

    assert at_once == before
    assert 30 <= (later - before).total_seconds() <= 90


@pytest.mark.parametrize("step", [1800.0, -1800.0])
def test_in_the_end_the_time_of_day_is_right(step: float) -> None:
    clock, times = a_clock()

    times.wall += step
    look_each_second(clock, times, seconds=3600)

    assert clock.now().timestamp() == pytest.approx(times.wall)
