"""How well a few candidates are ordered for one query. As the library's reranking evaluators, which use scikit-learn.

Ties: NDCG and MAP take tied documents together, MRR takes them in a given order. MAP@k is cut after k documents as in
information retrieval; with no more than k candidates it is the library's MAP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """Candidates of one query, best first."""

    relevant: np.ndarray
    """1 where the document answers the query, by rank."""
    ends: np.ndarray
    """Ranks, counted from 1, after which documents of a lower score begin; the last one is the number of documents."""

    def measure(self, metric: str) -> float:
        """Return `ndcg@k`, `mrr@k` or `map@k`; there is at least one relevant document."""
        name, _, k = metric.partition("@")
        return {"ndcg": self.ndcg, "mrr": self.mrr, "map": self.average_precision}[name](int(k))

    def ndcg(self, k: int) -> float:
        """Return the normalised discounted cumulative gain of the first k documents."""
        discounts = 1 / np.log2(np.arange(len(self.relevant)) + 2)
        discounts[k:] = 0
        starts = np.concatenate(([0], self.ends[:-1]))
        hits, discount = (np.add.reduceat(values, starts) for values in (self.relevant, discounts))
        gain = float((hits / (self.ends - starts) * discount).sum())
        return gain / float(discounts[: int(self.relevant.sum())].sum())

    def mrr(self, k: int) -> float:
        """Return the reciprocal rank of the first relevant document, 0 if it is not among the first k."""
        rank = int(np.argmax(self.relevant)) + 1
        return 1 / rank if rank <= k else 0.0

    def average_precision(self, k: int) -> float:
        """Return the mean precision at the relevant documents among the first k."""
        ends = self.ends if k >= len(self.relevant) else np.arange(1, k + 1)
        found = np.cumsum(self.relevant)[ends - 1]
        new = np.diff(found, prepend=0)
        return float((new * found / ends).sum()) / min(k, int(self.relevant.sum()))


def rank(scores: np.ndarray, relevant: np.ndarray, *, order: Sequence[int] | np.ndarray) -> Ranking:
    """Return the ranking in which `order`, positions by descending score, puts the candidates."""
    sorted_scores = scores[order]
    ends = np.flatnonzero(np.append(sorted_scores[1:] != sorted_scores[:-1], True)) + 1
    return Ranking(relevant=relevant[order], ends=ends)
