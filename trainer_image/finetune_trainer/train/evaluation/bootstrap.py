# ruff: noqa: N803, N806 - arrays carry their shape in their names
"""How sure an improvement is: its paired bootstrap interval over the queries or rows of an evaluation set.

Rows are drawn again and again with replacement, the same ones for both models; the interval holds the middle share of
the improvements so found. Shapes: B resamples, N rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from finetune_trainer.train.evaluation.measurement import Sample
from finetune_trainer.train.evaluation.statistics import Statistic, statistic

RESAMPLES = 2_000
#: Fewer make no distribution: of a single query the interval would have no width at all.
LEAST_ROWS = 10
_LEAST_RESAMPLES = 200
#: Rows drawn over all resamples: large sets get fewer resamples, then none.
_MOST_DRAWS = 20_000_000
MOST_ROWS = _MOST_DRAWS // _LEAST_RESAMPLES
_DRAWS_AT_ONCE = 1_000_000
_SEED = 20_240_229


@dataclass(frozen=True)
class Interval:
    """Lower and upper end."""

    low: float
    high: float


def improvement_interval(metric: str, baseline: Sample, final: Sample, *, confidence: float) -> Interval | None:
    """Return the interval of the improvement of `metric`, None for too few or too many rows.

    The two samples are of the same rows. Equal arguments give equal intervals.
    """
    num_rows = len(final.values)
    assert num_rows == len(baseline.values), "both models are measured on the same rows"
    if not LEAST_ROWS <= num_rows <= MOST_ROWS:
        return None
    num_resamples = min(RESAMPLES, _MOST_DRAWS // num_rows)
    improvement = _improvement(metric, baseline, final)
    drawn = np.concatenate([improvement(counts_BN) for counts_BN in _resamples(num_resamples, num_rows=num_rows)])
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def _improvement(metric: str, baseline: Sample, final: Sample) -> Statistic:
    before, after = np.array(baseline.values), np.array(final.values)
    if not final.labels:
        return lambda counts_BN: np.asarray(counts_BN @ (after - before)) / len(after)
    labels = np.array(final.labels)
    was, now = (statistic(metric, labels=labels, scores=scores) for scores in (before, after))
    return lambda counts_BN: now(counts_BN) - was(counts_BN)


def _resamples(count: int, *, num_rows: int) -> Iterator[np.ndarray]:
    """Yield how often each row was drawn (B, N), a bounded number of resamples at a time."""
    generator = np.random.default_rng(_SEED)
    at_once = max(1, _DRAWS_AT_ONCE // num_rows)
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        drawn_BN = generator.integers(num_rows, size=(size, num_rows)) + num_rows * np.arange(size)[:, None]
        yield np.bincount(drawn_BN.ravel(), minlength=size * num_rows).reshape(size, num_rows)
