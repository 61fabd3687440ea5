# ruff: noqa: ANN401, ARG002 - signatures are the library's
# ruff: noqa: N803 - tensors carry their shape in their names
"""Retrieval metrics of given embeddings. The library's own scoring, so equal to it in every tie.

A query that is a document of the corpus, and not relevant to itself, is left out of its own ranking, as BEIR and MTEB
do; the library would put it first.

Shapes: Q queries, N documents, D embedding dimensions.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from finetune_trainer.recipe.metrics import cutoff
from finetune_trainer.train.evaluation.dataset import RetrievalSet
from finetune_trainer.train.evaluation.encode import Embeddings

#: Values of one metric, one per query.
PerQuery = dict[str, np.ndarray]


class PrecomputedRetrieval(InformationRetrievalEvaluator):  # type: ignore[misc]
    """The library's evaluator on embeddings that are there already; its queries and documents are row numbers."""

    queries_ids: list[str]
    queries: list[int]

    def __init__(
        self, dataset: RetrievalSet, *, queries_QD: torch.Tensor, documents_ND: torch.Tensor, cutoffs: list[int]
    ) -> None:
        self._themselves = dataset.themselves()
        # One place more, for the query itself, which is taken out before anything is computed.
        found = [*cutoffs, max(cutoffs) + 1] if self._themselves else cutoffs
        super().__init__(
            queries={name: row for row, name in enumerate(dataset.queries.ids)},
            corpus={name: row for row, name in enumerate(dataset.documents.ids)},
            relevant_docs=dict(dataset.relevant),
            mrr_at_k=cutoffs,
            ndcg_at_k=cutoffs,
            accuracy_at_k=found,
            precision_recall_at_k=cutoffs,
            map_at_k=cutoffs,
            write_csv=False,
        )
        self._embeddings = {"query": queries_QD, "document": documents_ND}

    def embed_inputs(
        self,
        model: Any,
        sentences: list[int],
        encode_fn_name: str = "document",
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return the rows that `sentences` counts."""
        return self._embeddings[encode_fn_name][sentences]

    def compute_metrics(self, queries_result_list: list[Any]) -> Any:
        """Return every metric by name and k, as one value per query: the library's means over sets of one query."""
        found: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        names, rows = self.queries_ids, self.queries
        for name, row, found_hits in zip(names, rows, queries_result_list, strict=True):
            self.queries_ids, self.queries = [name], [row]
            hits = [hit for hit in found_hits if hit["corpus_id"] != self._themselves.get(name)]
            for metric, by_k in super().compute_metrics([hits]).items():
                for k, value in by_k.items():
                    found[metric][k].append(float(value))
        self.queries_ids, self.queries = names, rows
        return found

    def output_scores(self, scores: Any) -> None:
        """Log nothing: there is one value per query."""


def score_retrieval(
    dataset: RetrievalSet, embeddings: Embeddings, metrics: Sequence[str], *, dimension: int | None
) -> PerQuery:
    """Return the values of each metric, `ndcg@10` and so on."""
    evaluator = PrecomputedRetrieval(
        dataset,
        queries_QD=embeddings.of(dataset.queries, role="query", dimension=dimension),
        documents_ND=embeddings.of(dataset.documents, role="document", dimension=dimension),
        cutoffs=sorted({cutoff(metric) for metric in metrics}),
    )
    evaluator.score_functions = {"similarity": embeddings.model.similarity}
    found = evaluator.compute_all_metrics(model=None)["similarity"]
    return {metric: np.array(found[f"{metric.partition('@')[0]}@k"][cutoff(metric)]) for metric in metrics}
