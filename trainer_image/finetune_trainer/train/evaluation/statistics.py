# ruff: noqa: N803, N806 - arrays carry their shape in their names
"""Metrics of labeled pairs. None is a mean over rows, so each is computed for many resamples of the rows at once.

Equal to scipy's correlations, scikit-learn's average precision and the library's thresholds of the best F1 and
accuracy, ties included. Where the rows leave a metric undefined (one label, or equal scores throughout) it is 0.
Shapes: B resamples, N rows, G groups of rows with equal score.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Takes how often each row is in each resample (B, N), returns the metric of each resample (B).
Statistic = Callable[[np.ndarray], np.ndarray]


def statistic(metric: str, *, labels: np.ndarray, scores: np.ndarray) -> Statistic:
    """Return the metric of rows with these labels and scores; higher scores stand for higher labels."""
    if metric == "pearson":
        return lambda counts_BN: correlate(counts_BN, labels[None, :], scores[None, :].astype(np.float64))
    if metric == "spearman":
        label_ties, score_ties = Ties.of(labels), Ties.of(scores)
        return lambda counts_BN: correlate(counts_BN, label_ties.ranks(counts_BN), score_ties.ranks(counts_BN))
    ties = Ties.of(-scores)
    return lambda counts_BN: getattr(threshold(counts_BN, labels, ties), metric)


def measure(metric: str, *, labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the metric of the rows as they are."""
    return float(statistic(metric, labels=labels, scores=scores)(np.ones((1, len(labels)), dtype=np.int64))[0])


@dataclass(frozen=True)
class Ties:
    """Rows in ascending order of some value, and which of them are equal."""

    order: np.ndarray
    starts: np.ndarray
    """Places in `order` where a group begins."""
    groups: np.ndarray
    """Group of each row."""

    @classmethod
    def of(cls, values: np.ndarray) -> "Ties":
        """Sort and group `values`."""
        _, groups, sizes = np.unique(values, return_inverse=True, return_counts=True)
        return cls(np.argsort(groups, kind="stable"), np.concatenate(([0], np.cumsum(sizes)[:-1])), groups)

    def sum(self, values_BN: np.ndarray) -> np.ndarray:
        """Return the sums (B, G) over groups, in ascending order."""
        return np.asarray(np.add.reduceat(values_BN[:, self.order], self.starts, axis=1))

    def ranks(self, counts_BN: np.ndarray) -> np.ndarray:
        """Return the rank (B, N) of each row in each resample; equal ones share their mean rank."""
        counts_BG = self.sum(counts_BN)
        ranks_BG = np.cumsum(counts_BG, axis=1) - (counts_BG - 1) / 2
        return np.asarray(ranks_BG[:, self.groups])


def correlate(counts_BN: np.ndarray, first_BN: np.ndarray, second_BN: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation (B) of two columns."""
    total_B1 = counts_BN.sum(axis=1, keepdims=True)
    first_BN, second_BN = (
        values_BN - (counts_BN * values_BN).sum(axis=1, keepdims=True) / total_B1 for values_BN in (first_BN, second_BN)
    )
    weighted_BN = counts_BN * first_BN
    scale_B = np.sqrt((weighted_BN * first_BN).sum(axis=1) * (counts_BN * second_BN**2).sum(axis=1))
    return divide((weighted_BN * second_BN).sum(axis=1), scale_B)


@dataclass(frozen=True)
class Threshold:
    """What a threshold between groups gets right: how many rows are above it and how many of those are positive."""

    hits: np.ndarray
    """(B, G)."""
    above: np.ndarray
    """(B, G)."""

    @property
    def ap(self) -> np.ndarray:
        """Return the average precision."""
        new_BG = np.diff(self.hits, axis=1, prepend=0)
        return divide((new_BG * divide(self.hits, self.above)).sum(axis=1), self._positive[:, 0])

    @property
    def accuracy(self) -> np.ndarray:
        """Return the accuracy at the best threshold, which may be above all rows."""
        rows_B1 = self.above[:, -1:]
        right_BG = rows_B1 - self._positive + 2 * self.hits - self.above
        best_B = np.maximum(right_BG.max(axis=1), (rows_B1 - self._positive)[:, 0])
        return divide(best_B, rows_B1[:, 0])

    @property
    def f1(self) -> np.ndarray:
        """Return the F1 at the best threshold."""
        return self._at_best_f1(self._f1)

    @property
    def precision(self) -> np.ndarray:
        """Return the precision at the threshold of the best F1."""
        return self._at_best_f1(self._precision)

    @property
    def recall(self) -> np.ndarray:
        """Return the recall at the threshold of the best F1."""
        return self._at_best_f1(self._recall)

    @property
    def mcc(self) -> np.ndarray:
        """Return Matthews' correlation at the threshold of the best F1."""
        hits_B, above_B = self._at_best_f1(self.hits), self._at_best_f1(self.above)
        rows_B, positive_B = self.above[:, -1], self._positive[:, 0]
        scale_B = np.sqrt(1.0 * above_B * (rows_B - above_B)) * np.sqrt(1.0 * positive_B * (rows_B - positive_B))
        return divide(hits_B * rows_B - above_B * positive_B, scale_B)

    @property
    def _positive(self) -> np.ndarray:
        # (B, 1); the others below are (B, G).
        return self.hits[:, -1:]

    @property
    def _precision(self) -> np.ndarray:
        return divide(self.hits, self.above)

    @property
    def _recall(self) -> np.ndarray:
        return divide(self.hits, self._positive)

    @property
    def _f1(self) -> np.ndarray:
        # In the library's order of operations, so that of equal thresholds the same one is best.
        precision_BG, recall_BG = self._precision, self._recall
        return divide(2 * precision_BG * recall_BG, precision_BG + recall_BG)

    def _at_best_f1(self, values_BG: np.ndarray) -> np.ndarray:
        best_B1 = self._f1.argmax(axis=1)[:, None]
        return np.asarray(np.take_along_axis(values_BG, best_B1, axis=1)[:, 0])


def threshold(counts_BN: np.ndarray, labels: np.ndarray, ties: Ties) -> Threshold:
    """Return what each threshold gets right; `ties` are of negated scores."""
    hits_BG, above_BG = (np.cumsum(ties.sum(values), axis=1) for values in (counts_BN * labels, counts_BN))
    return Threshold(hits_BG, above_BG)


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient, 0 where the denominator is 0."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.asarray(np.divide(numerator, denominator, out=np.zeros(shape), where=denominator != 0))
