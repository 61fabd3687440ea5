"""What an evaluation set measures: which columns each evaluator takes and which metrics it yields."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from finetune_api.losses import Kind


class Evaluator(StrEnum):
    """How an evaluation set is used; names are the library's, without `Evaluator`."""

    INFORMATION_RETRIEVAL = "InformationRetrieval"
    RERANKING = "Reranking"
    TRIPLET = "Triplet"
    EMBEDDING_SIMILARITY = "EmbeddingSimilarity"
    BINARY_CLASSIFICATION = "BinaryClassification"


@dataclass(frozen=True)
class EvaluatorRule:
    """What one evaluator takes and yields."""

    columns: tuple[tuple[str, ...], ...]
    """Each combination of columns that will do; `negatives` may be added where it is not named."""
    metrics: tuple[str, ...]
    """Metrics without @k; those in `at_k` need one."""
    at_k: bool
    kinds: tuple[Kind, ...]


_BOTH: tuple[Kind, ...] = ("Embedding", "Reranker")
_PAIR = (("query", "document", "label"),)

EVALUATORS: dict[Evaluator, EvaluatorRule] = {
    Evaluator.INFORMATION_RETRIEVAL: EvaluatorRule(
        (("query", "positive"),),
        ("ndcg", "mrr", "recall", "map", "precision", "accuracy"),
        at_k=True,
        kinds=("Embedding",),
    ),
    Evaluator.RERANKING: EvaluatorRule(
        (("query", "positive", "negatives"), ("query", "documents", "label")),
        ("ndcg", "mrr", "map"),
        at_k=True,
        kinds=_BOTH,
    ),
    Evaluator.TRIPLET: EvaluatorRule(
        (("query", "positive", "negatives"),), ("accuracy",), at_k=False, kinds=("Embedding",)
    ),
    Evaluator.EMBEDDING_SIMILARITY: EvaluatorRule(_PAIR, ("spearman", "pearson"), at_k=False, kinds=_BOTH),
    Evaluator.BINARY_CLASSIFICATION: EvaluatorRule(
        _PAIR, ("ap", "f1", "accuracy", "precision", "recall", "mcc"), at_k=False, kinds=_BOTH
    ),
}


def default_evaluator(kind: Kind) -> Evaluator:
    """Return the evaluator of a set that names none."""
    return Evaluator.INFORMATION_RETRIEVAL if kind == "Embedding" else Evaluator.RERANKING


def is_ndcg(metric: str) -> bool:
    """Say whether `metric` is NDCG at some k, which has series of its own."""
    return metric.startswith("ndcg@")


def columns_fit(evaluator: Evaluator, given: Collection[str]) -> bool:
    """Say whether the evaluator can measure rows with columns for the parts `given`."""
    return any(set(wanted) <= set(given) for wanted in EVALUATORS[evaluator].columns)


def yields(evaluator: Evaluator, metric: str) -> bool:
    """Say whether `metric`, for example `ndcg@10` or `spearman`, is one of the evaluator's."""
    name, at, _ = metric.partition("@")
    rule = EVALUATORS[evaluator]
    return name in rule.metrics and bool(at) == rule.at_k
