# ruff: noqa: ANN401, ARG002 - signatures are the library's
# ruff: noqa: N803 - tensors carry their shape in their names
"""Retrieval metrics of given embeddings, cut to one dimension. The library's own scoring, so equal to it in every tie.

Shapes: Q queries, N documents, D embedding dimensions.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from finetune_trainer.evaluation.dataset import RetrievalSet

Similarity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
#: Always reported, besides the metric of the spec.
STANDARD_METRICS = ("ndcg@10", "mrr@10", "recall@10")


class PrecomputedRetrieval(InformationRetrievalEvaluator):  # type: ignore[misc]
    """The library's evaluator on embeddings that are there already; its queries and documents are row numbers."""

    def __init__(
        self, dataset: RetrievalSet, *, queries_QD: torch.Tensor, documents_ND: torch.Tensor, cutoffs: list[int]
    ) -> None:
        super().__init__(
            queries={name: row for row, name in enumerate(dataset.queries.ids)},
            corpus={name: row for row, name in enumerate(dataset.documents.ids)},
            relevant_docs=dict(dataset.relevant),
            mrr_at_k=cutoffs,
            ndcg_at_k=cutoffs,
            accuracy_at_k=cutoffs,
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


def score(  # noqa: PLR0913 - each is a part of its own
    dataset: RetrievalSet,
    *,
    queries_QD: torch.Tensor,
    documents_ND: torch.Tensor,
    dimension: int,
    metrics: Iterable[str],
    similarity: Similarity,
) -> dict[str, float]:
    """Return each metric (`ndcg@10` and so on) with embeddings cut to their first `dimension` values.

    `similarity` compares (Q, D) with (N, D); cosine needs no renormalisation after the cut, as it divides by lengths.
    """
    cutoffs = sorted({int(metric.partition("@")[2]) for metric in metrics})
    evaluator = PrecomputedRetrieval(
        dataset, queries_QD=queries_QD[:, :dimension], documents_ND=documents_ND[:, :dimension], cutoffs=cutoffs
    )
    evaluator.score_functions = {"similarity": similarity}
    found = evaluator.compute_all_metrics(model=None)["similarity"]
    return {metric: float(found[f"{metric.partition('@')[0]}@k"][int(metric.partition("@")[2])]) for metric in metrics}
