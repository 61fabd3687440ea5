"""Which metrics are reported of a set: whatever they are, the first is the one that the set is judged by."""

from typing import Any

import pytest

from finetune_api.evaluators import Evaluator
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.recipe.metrics import STANDARD_METRICS, metrics_of


def spec(evaluation: dict[str, Any]) -> FinetuneJobSpec:
    data = {"train": [{"name": "qa", "source": "hf://demo/qa"}]}
    return FinetuneJobSpec.model_validate(
        {"model": {"source": "hf://demo/tiny"}, "data": data, "evaluation": evaluation}
    )


@pytest.mark.parametrize(
    ("evaluation", "evaluator", "reported"),
    [
        ({}, Evaluator.INFORMATION_RETRIEVAL, ("ndcg@10", "mrr@10", "recall@10")),
        ({"metric": "mrr@10"}, Evaluator.INFORMATION_RETRIEVAL, ("mrr@10", "ndcg@10", "recall@10")),
        ({"metric": "map@5"}, Evaluator.RERANKING, ("map@5", "ndcg@10", "mrr@10", "map@100")),
        ({"metric": "ndcg@10"}, Evaluator.BINARY_CLASSIFICATION, ("ap", "f1", "accuracy")),
        ({"metric": "f1"}, Evaluator.BINARY_CLASSIFICATION, ("f1", "ap", "accuracy")),
        (
            {"metric": "ndcg@5", "alsoReport": ["recall@100", "mcc", "ap"]},
            Evaluator.INFORMATION_RETRIEVAL,
            ("ndcg@5", "ndcg@10", "mrr@10", "recall@10", "recall@100"),
        ),
        (
            {"metric": "ndcg@5", "alsoReport": ["recall@100", "mcc", "ap"]},
            Evaluator.BINARY_CLASSIFICATION,
            ("ap", "f1", "accuracy", "mcc"),
        ),
    ],
)
def test_the_jobs_metric_comes_first_where_the_set_yields_it_and_the_usual_one_elsewhere(
    evaluation: dict[str, Any], evaluator: Evaluator, reported: tuple[str, ...]
) -> None:
    assert metrics_of(spec(evaluation), evaluator) == reported


@pytest.mark.parametrize("evaluator", list(Evaluator))
def test_every_usual_metric_is_one_that_the_evaluator_yields(evaluator: Evaluator) -> None:
    other = "ndcg@10" if evaluator is Evaluator.TRIPLET else "accuracy@1"

    assert set(STANDARD_METRICS[evaluator]) <= set(metrics_of(spec({"metric": other}), evaluator))
