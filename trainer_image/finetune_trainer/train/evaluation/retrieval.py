# ruff: noqa: N803, N806, N815 - tensors carry their shape in their names
"""Retrieval metrics of embeddings that lie on many ranks.

Hits are those that the library finds (`top_k`), and its own code makes metrics of them: equal to it in every tie.

Each rank looks among its own documents; queries come by in chunks, and one rank, by turns, merges what all have found.

A query that is a document of the corpus, and not relevant to itself, is left out of its own ranking, as BEIR and MTEB
do; the library would put it first.

Shapes: Q queries of a chunk, N documents of this rank, D embedding dimensions, K of the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from finetune_trainer.recipe.capacity.evaluation import DOCUMENTS_AT_ONCE
from finetune_trainer.recipe.metrics import cutoff
from finetune_trainer.train.evaluation.dataset import RetrievalSet
from finetune_trainer.train.evaluation.encode import Embeddings
from finetune_trainer.train.evaluation.held import Held
from finetune_trainer.train.evaluation.top_k import Best, best_of, join

#: Values of one metric, one per query.
PerQuery = dict[str, np.ndarray]


class HitMetrics(InformationRetrievalEvaluator):  # type: ignore[misc]
    """The library's metrics of hits that are found already."""

    def __init__(self, dataset: RetrievalSet, *, cutoffs: list[int]) -> None:
        super().__init__(
            queries=dict.fromkeys(dataset.queries.ids, ""),
            corpus={},
            relevant_docs=dict(dataset.relevant),
            mrr_at_k=cutoffs,
            ndcg_at_k=cutoffs,
            accuracy_at_k=cutoffs,
            precision_recall_at_k=cutoffs,
            map_at_k=cutoffs,
            write_csv=False,
        )

    def of_query(self, name: str, hits: list[dict[str, Any]], metrics: Sequence[str]) -> list[float]:
        """Return the value of each metric, `ndcg@10` and so on: the library's means over a set of one query."""
        self.queries_ids, self.queries = [name], [""]
        found = self.compute_metrics([hits])
        return [float(found[f"{metric.partition('@')[0]}@k"][cutoff(metric)]) for metric in metrics]


@dataclass(frozen=True)
class Part:
    """The documents of a set that lie on this rank."""

    embeddings: Embeddings
    held: Held
    row_N: np.ndarray
    order_N: torch.Tensor
    """Where the id of each is among those of all documents."""
    dimension: int | None

    @classmethod
    def of(cls, dataset: RetrievalSet, embeddings: Embeddings, *, dimension: int | None) -> Self:
        """Return this rank's part."""
        held, row_N = embeddings.of(dataset.documents, role="document")
        here = held.here(row_N)
        order_N = torch.from_numpy(dataset.order_N[here]).to(held.rows_MD.device)
        return cls(embeddings, held, row_N[here], order_N, dimension)

    def search(self, queries_QD: torch.Tensor, k: int) -> Best:
        """Return the k best documents of each query, or all if there are fewer."""
        best = Best(queries_QD.new_empty(len(queries_QD), 0), self.order_N.new_empty(len(queries_QD), 0))
        for start in range(0, len(self.row_N), DOCUMENTS_AT_ONCE):
            best = join([best, self._search(queries_QD, k, slice(start, start + DOCUMENTS_AT_ONCE))]).cut(k)
        return best

    def _search(self, queries_QD: torch.Tensor, k: int, chunk: slice) -> Best:
        documents_ND = self.held.take(self.row_N[chunk], width=self.dimension)
        return best_of(self.embeddings.similarity(queries_QD, documents_ND), self.order_N[chunk], k)


def score_retrieval(
    dataset: RetrievalSet, embeddings: Embeddings, metrics: Sequence[str], *, dimension: int | None
) -> PerQuery:
    """Return the values of each metric, `ndcg@10` and so on, on every rank; all call this together."""
    cutoffs = sorted({cutoff(metric) for metric in metrics})
    scorer = HitMetrics(dataset, cutoffs=cutoffs)
    # One place more, for the query itself, which is taken out before anything is computed.
    k = min(len(dataset.documents.ids), max(cutoffs) + bool(dataset.themselves))
    names, ranks = list(scorer.queries_ids), embeddings.shares.ranks
    merged = _search(dataset, embeddings, names, k=k, dimension=dimension)
    measured = {
        names[row]: scorer.of_query(names[row], _hits(dataset, names[row], best, row - start), metrics)
        for start, best in merged.items()
        for row in range(start, start + len(best.scores_QK))
    }
    found = {name: values for one in ranks.gather(measured) for name, values in one.items()}
    return {metric: np.array([found[name][column] for name in names]) for column, metric in enumerate(metrics)}


def _search(
    dataset: RetrievalSet, embeddings: Embeddings, names: Sequence[str], *, k: int, dimension: int | None
) -> dict[int, Best]:
    """Return the best documents for those chunks of queries that this rank merges, by the number of their first."""
    rows = {name: row for row, name in enumerate(dataset.queries.ids)}
    of_queries, query_N = embeddings.of(dataset.queries, role="query")
    query_N = query_N[[rows[name] for name in names]]
    part, ranks = Part.of(dataset, embeddings, dimension=dimension), embeddings.shares.ranks
    merged = {}
    for turn, chunk in enumerate(embeddings.chunks(len(names))):
        best = part.search(of_queries.fetch(query_N[chunk], width=dimension), k)
        found = ranks.gather_at(turn % ranks.world_size, _packed(best, k, missing=len(dataset.documents.ids)))
        if found is not None:
            merged[chunk.start] = join([_unpacked(one) for one in found]).cut(k)
    return merged


def _packed(best: Best, k: int, *, missing: int) -> torch.Tensor:
    """Return scores and order in one CPU tensor that holds both without rounding, as wide as for k documents."""
    room = (0, k - best.scores_QK.shape[1])
    scores_QK = torch.nn.functional.pad(best.scores_QK.double(), room, value=-torch.inf)
    order_QK = torch.nn.functional.pad(best.order_QK.double(), room, value=missing)
    return torch.cat([scores_QK, order_QK], dim=1).cpu()


def _unpacked(packed: torch.Tensor) -> Best:
    scores_QK, order_QK = packed.chunk(2, dim=1)
    return Best(scores_QK, order_QK.long())


def _hits(dataset: RetrievalSet, name: str, best: Best, row: int) -> list[dict[str, Any]]:
    """Return what was found for a query, as the library's metrics take it, without the query itself."""
    found = zip(best.scores_QK[row].tolist(), best.order_QK[row].tolist(), strict=True)
    ids, by_id = dataset.documents.ids, dataset.by_id
    hits = [{"corpus_id": ids[by_id[order]], "score": score} for score, order in found]
    return [hit for hit in hits if hit["corpus_id"] != dataset.themselves.get(name)]
