"""Base model and trained model side by side, metric by metric, and how sure the difference is."""

from collections.abc import Iterator
from itertools import zip_longest

from finetune_api.contract import round_significant
from finetune_api.status import DimensionScore, EvaluationScore
from finetune_trainer.train.evaluation.bootstrap import LEAST_ROWS, MOST_ROWS, improvement_interval
from finetune_trainer.train.evaluation.measurement import Measurement, Scores


def compare(
    baseline: list[Measurement] | None, final: list[Measurement] | None, *, confidence: float
) -> list[EvaluationScore]:
    """Return each metric of each set before and after; the first of a set has dimensions and an interval."""
    sets = zip_longest(baseline or [], final or [])
    return [score for before, after in sets for score in compare_set(before, after, confidence=confidence)]


def compare_set(
    baseline: Measurement | None, final: Measurement | None, *, confidence: float
) -> Iterator[EvaluationScore]:
    """Yield each metric of one set before and after, its first metric first."""
    before, after = (one.scores if one else None for one in (baseline, final))
    known = after or before
    assert known is not None, "called with at least one"
    for metric in known.values:
        score = EvaluationScore(
            name=known.name,
            metric=metric,
            baseline=rounded(before.values.get(metric) if before else None),
            final=rounded(after.values.get(metric) if after else None),
        )
        if metric == known.metric:
            score = score.model_copy(
                update={
                    "dimensions": compare_dimensions(before, after),
                    **interval_fields(metric, baseline, final, confidence=confidence),
                }
            )
        yield score


def missing_intervals(measured: list[Measurement], compared: list[EvaluationScore]) -> Iterator[str]:
    """Yield for each set of `measured` that has too few or too many rows for an interval that this is so."""
    sure = {score.name for score in compared if score.improvement_low is not None}
    for one in measured:
        if one.scores.name not in sure:
            yield (
                f"{one.scores.name}: how sure the improvement of {one.scores.metric} is cannot be told from "
                f"{len(one.sample.values)} rows; {LEAST_ROWS} to {MOST_ROWS} are needed"
            )


def interval_fields(
    metric: str, baseline: Measurement | None, final: Measurement | None, *, confidence: float
) -> dict[str, float]:
    """Return the fields of the improvement's interval; none where it is not known."""
    if baseline is None or final is None:
        return {}
    interval = improvement_interval(metric, baseline.sample, final.sample, confidence=confidence)
    if interval is None:
        return {}
    low, high = round_significant(interval.low), round_significant(interval.high)
    return {"improvement_low": low, "improvement_high": high, "confidence": confidence}


def compare_dimensions(baseline: Scores | None, final: Scores | None) -> list[DimensionScore]:
    """Return the first metric before and after for each Matryoshka dimension, largest first."""
    known = final or baseline
    assert known is not None, "called with at least one"
    return [
        DimensionScore(
            dimension=dimension,
            baseline=rounded(baseline.dimensions.get(dimension) if baseline else None),
            final=rounded(final.dimensions.get(dimension) if final else None),
        )
        for dimension in known.dimensions
    ]


def rounded(value: float | None) -> float | None:
    """Return the value as it appears in status."""
    return None if value is None else round_significant(value)
