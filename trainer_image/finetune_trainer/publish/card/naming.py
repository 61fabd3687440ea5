"""Names that readers of the card know: of metrics, of tasks, of what was measured."""

from finetune_api.evaluators import Evaluator
from finetune_trainer.recipe.metrics import GIVEN_ORDER

_ACRONYMS = frozenset({"ndcg", "mrr", "map", "ap", "f1", "mcc"})
#: Type and name of the task in the Hub's results, as the library's own cards call them.
TASKS: dict[Evaluator, tuple[str, str]] = {
    Evaluator.INFORMATION_RETRIEVAL: ("information-retrieval", "Information Retrieval"),
    Evaluator.RERANKING: ("reranking", "Reranking"),
    Evaluator.TRIPLET: ("triplet", "Triplet"),
    Evaluator.EMBEDDING_SIMILARITY: ("semantic-similarity", "Semantic Similarity"),
    Evaluator.BINARY_CLASSIFICATION: ("binary-classification", "Binary Classification"),
}
#: What an evaluator measures one by one.
ROWS: dict[Evaluator, str] = {
    Evaluator.INFORMATION_RETRIEVAL: "queries",
    Evaluator.RERANKING: "queries",
    Evaluator.TRIPLET: "triplets",
    Evaluator.EMBEDDING_SIMILARITY: "pairs",
    Evaluator.BINARY_CLASSIFICATION: "pairs",
}


def metric_name(metric: str) -> str:
    """Return `NDCG@10` for `ndcg@10`, `Spearman` for `spearman`."""
    if metric.startswith(GIVEN_ORDER):
        return f"{metric_name(metric.removeprefix(GIVEN_ORDER))} of the candidates as given"
    name, at, k = metric.partition("@")
    return f"{name.upper() if name in _ACRONYMS else name.capitalize()}{at}{k}"
