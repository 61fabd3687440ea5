"""A training's curves in at most 32 points."""

import itertools

from finetune_api.status import CurvePoint
from finetune_trainer.workspace import report
from finetune_trainer.workspace.outline import outline


def losses(steps: range) -> list[report.CurvePoint]:
    return [report.CurvePoint(step=step, loss=1 / step, learning_rate=0.1) for step in steps]


def scores(steps: range) -> list[report.CurvePoint]:
    return [report.CurvePoint(step=step, score=step / 1000) for step in steps]


def test_a_short_curve_is_kept_as_it_is_with_one_point_per_step() -> None:
    found = outline([*losses(range(1, 3)), *scores(range(2, 3)), *losses(range(3, 4))])

    assert found == [
        CurvePoint(step=1, loss=1.0),
        CurvePoint(step=2, loss=0.5, score=0.002),
        CurvePoint(step=3, loss=1 / 3),
    ]


def test_of_a_long_curve_the_ends_stay_and_points_evenly_between() -> None:
    found = outline([*losses(range(1, 1001)), *scores(range(250, 1001, 250))])

    assert [point.step for point in found if point.score is not None] == [250, 500, 750, 1000]
    steps = [point.step for point in found if point.score is None]
    assert (len(steps), steps[0], steps[-1]) == (28, 1, 999)
    gaps = {later - earlier for earlier, later in itertools.pairwise(steps)}
    assert gaps <= {36, 37, 38}


def test_many_evaluations_leave_room_for_losses() -> None:
    found = outline([*losses(range(1, 101)), *scores(range(1, 101, 2))])

    scored = [point.step for point in found if point.score is not None]
    assert (len(found), len(scored), scored[0], scored[-1]) == (32, 16, 1, 99)


def test_a_step_whose_loss_was_no_number_is_left_out() -> None:
    assert outline([report.CurvePoint(step=1, learning_rate=0.1)]) == []
