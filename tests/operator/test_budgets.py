"""How long gangs wait after losses."""

import pytest

from finetune_api.status import RestartCounts
from finetune_operator.core.budgets import seconds_to_restart
from tests.operator.given import T0, at

NINE = "2026-11-23T09:00:00Z"


@pytest.mark.parametrize(
    ("num_lost", "seconds"), [(0, 0), (1, 0), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (1100, 300)]
)
def test_each_loss_doubles_the_wait_up_to_five_minutes(num_lost: int, seconds: float) -> None:
    restarts = RestartCounts(without_progress=num_lost, last_time=NINE)

    assert seconds_to_restart(restarts, T0) == seconds


def test_the_wait_is_over_when_it_is_over() -> None:
    restarts = RestartCounts(without_progress=4, last_time=NINE)

    assert [seconds_to_restart(restarts, at(seconds)) for seconds in (15, 40, 4000)] == [25, 0, 0]


def test_a_clock_that_was_set_back_makes_nobody_wait_for_longer() -> None:
    assert seconds_to_restart(RestartCounts(without_progress=4, last_time=NINE), at(-10_800)) == 40


def test_counts_of_an_operator_that_kept_no_time_are_not_waited_for() -> None:
    assert seconds_to_restart(RestartCounts(without_progress=9), T0) == 0
