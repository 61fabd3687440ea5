"""A training's curves in few points, as a status keeps them."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from finetune_api.status import MAX_CURVE_POINTS, CurvePoint
from finetune_trainer.workspace import report

#: So many points are kept for scores, of which there are fewer.
_SCORED = MAX_CURVE_POINTS // 2
_Item = TypeVar("_Item")


def outline(curve: Iterable[report.CurvePoint]) -> list[CurvePoint]:
    """Return some of the points, by their steps: the first and the last with a score, those between evenly, and losses.

    Every number is one that the curve has; nothing is averaged.
    """
    measured: dict[int, CurvePoint] = {}
    for point in curve:
        known = measured.get(point.step, CurvePoint(step=point.step))
        news = {name: value for name in ("loss", "score") if (value := getattr(point, name)) is not None}
        measured[point.step] = known.model_copy(update=news)
    scored = _some([point for point in measured.values() if point.score is not None], _SCORED)
    losses = [point for point in measured.values() if point.score is None and point.loss is not None]
    return sorted([*scored, *_some(losses, MAX_CURVE_POINTS - len(scored))], key=lambda point: point.step)


def _some(items: Sequence[_Item], most: int) -> list[_Item]:
    """Return all items, or so many of them: the first, the last, and others evenly between."""
    if len(items) <= most:
        return list(items)
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]
