"""The metrics of one set, of what a model made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finetune_trainer.train.evaluation import statistics
from finetune_trainer.train.evaluation.dataset import EvaluationSet, PairSet, RerankingSet, RetrievalSet, TripletSet
from finetune_trainer.train.evaluation.encode import Embeddings
from finetune_trainer.train.evaluation.measurement import Sample
from finetune_trainer.train.evaluation.pairs import PairScores
from finetune_trainer.train.evaluation.reranking import score_given_order, score_reranking
from finetune_trainer.train.evaluation.retrieval import score_retrieval

#: What an embedding model or a reranker made of the sets.
Seen = Embeddings | PairScores


@dataclass(frozen=True)
class Found:
    """Metrics of one set, and what the first of them was computed from."""

    values: dict[str, float]
    sample: Sample


def score(dataset: EvaluationSet, seen: Seen, metrics: Sequence[str], *, dimension: int | None = None) -> Found:
    """Return each metric with embeddings cut to their first `dimension` values; a reranker has none to cut."""
    if isinstance(dataset, PairSet):
        return _score_pairs(dataset, seen.score_pairs(dataset, dimension=dimension), metrics)
    if isinstance(dataset, RerankingSet):
        found = score_reranking(dataset, seen, metrics, dimension=dimension)
        if dataset.ranked and dimension is None:
            found |= score_given_order(dataset, metrics)
        return _mean(found)
    assert isinstance(seen, Embeddings), "check_sense refuses these sets for rerankers"
    if isinstance(dataset, RetrievalSet):
        return _mean(score_retrieval(dataset, seen, metrics, dimension=dimension))
    return _mean({"accuracy": _rank_triplets(dataset, seen, dimension=dimension)})


def _rank_triplets(dataset: TripletSet, seen: Embeddings, *, dimension: int | None) -> np.ndarray:
    """Return 1 for each row whose answer is closer to the query than the other document."""
    positive = seen.similarities(dataset.queries, dataset.positives, dimension=dimension)
    return positive > seen.similarities(dataset.queries, dataset.negatives, dimension=dimension)


def _score_pairs(dataset: PairSet, scores: np.ndarray, metrics: Sequence[str]) -> Found:
    values = {metric: statistics.measure(metric, labels=dataset.labels, scores=scores) for metric in metrics}
    return Found(values, Sample(values=scores.tolist(), labels=dataset.labels.tolist()))


def _mean(per_row: Mapping[str, np.ndarray]) -> Found:
    """Return the means over queries or rows."""
    first = next(iter(per_row.values()))
    means = {metric: float(values.mean()) for metric, values in per_row.items()}
    return Found(means, Sample(values=first.astype(np.float64).tolist()))
