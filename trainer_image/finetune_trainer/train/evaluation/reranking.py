"""Metrics of a reranking set, one value per query."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from finetune_trainer.recipe.metrics import GIVEN_ORDER
from finetune_trainer.train.evaluation.dataset import Candidates, RerankingSet
from finetune_trainer.train.evaluation.ranking import Ranking, rank


class Ranker(Protocol):
    """An embedding model or a reranker that has seen the set."""

    def score_candidates(self, dataset: RerankingSet, *, dimension: int | None) -> Iterator[np.ndarray]:
        """Yield for each query the scores of its candidates."""

    def order(self, scores: np.ndarray) -> np.ndarray:
        """Return positions by descending score."""


def score_reranking(
    dataset: RerankingSet, ranker: Ranker, metrics: Sequence[str], *, dimension: int | None
) -> dict[str, np.ndarray]:
    """Return the values of each metric."""
    scored = zip(dataset.candidates, ranker.score_candidates(dataset, dimension=dimension), strict=True)
    return _measure((rank(scores, one.relevant, order=ranker.order(scores)) for one, scores in scored), metrics)


def score_given_order(dataset: RerankingSet, metrics: Sequence[str]) -> dict[str, np.ndarray]:
    """Return what the candidates reach in the order in which they were given, under names of its own."""
    found = _measure((_rank_as_given(one) for one in dataset.candidates), metrics)
    return {f"{GIVEN_ORDER}{metric}": values for metric, values in found.items()}


def _rank_as_given(candidates: Candidates) -> Ranking:
    count = len(candidates.rows)
    return rank(-np.arange(count), candidates.given, order=range(count))


def _measure(rankings: Iterable[Ranking], metrics: Sequence[str]) -> dict[str, np.ndarray]:
    rows = [[ranking.measure(metric) for metric in metrics] for ranking in rankings]
    return {metric: np.array([row[column] for row in rows]) for column, metric in enumerate(metrics)}
