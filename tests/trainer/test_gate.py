"""What the gate lets through, and what it says when it does not."""

import pytest

from finetune_api.status import EvaluationScore
from finetune_api.types import FinetuneJobSpec, Gate
from finetune_trainer.publish.gate import improvement_text, main_score, shortfall
from finetune_trainer.recipe.metrics import confidence_of


def score(
    baseline: float | None, final: float | None, *, interval: tuple[float, float] | None = None
) -> EvaluationScore:
    sure = {} if interval is None else {"improvement_low": interval[0], "improvement_high": interval[1]}
    return EvaluationScore(
        name="held-out", metric="ndcg@10", baseline=baseline, final=final, **sure, confidence=0.95 if sure else None
    )


def spec(**sections: object) -> FinetuneJobSpec:
    return FinetuneJobSpec.model_validate(
        {
            "model": {"source": "hf://demo/tiny"},
            "data": {
                "train": [{"name": "qa", "source": "hf://demo/qa"}],
                "evaluation": [{"name": name, "source": "hf://demo/qa", "columns": {}} for name in ("easy", "hard")],
            },
        }
        | sections
    )


@pytest.mark.parametrize(
    ("gate", "measured"),
    [
        (None, None),
        (None, score(0.9, 0.1)),
        (Gate(), score(0.8, 0.8001)),
        (Gate(min_improvement=0.2), score(0.7, 0.9)),
        (Gate(min_improvement=-0.1), score(0.8, 0.75)),
        (Gate(min_improvement=-0.1), score(0.8, 0.8)),
        (Gate(confidence=0.95), score(0.8, 0.9, interval=(0.001, 0.15))),
        (Gate(min_improvement=0.02, confidence=0.95), score(0.8, 0.86, interval=(0.02, 0.1))),
    ],
)
def test_enough_passes(gate: Gate | None, measured: EvaluationScore | None) -> None:
    assert shortfall(gate, measured) is None


@pytest.mark.parametrize(
    ("gate", "measured", "message"),
    [
        (
            Gate(),
            score(None, 0.9),
            "publish.gate: the metric was not measured before and after training, so the improvement is unknown",
        ),
        (
            Gate(),
            score(0.8, 0.8),
            "publish.gate: ndcg@10 on held-out went from 0.8000 to 0.8000, an improvement of +0.0000 where more than 0 "
            "is asked for; nothing is published",
        ),
        (
            Gate(confidence=0.95),
            score(0.8, 0.9, interval=(0.0, 0.15)),
            "publish.gate: ndcg@10 on held-out went from 0.8000 to 0.9000, an improvement of +0.1000 (95 % interval "
            "+0.0000 to +0.1500) where more than 0 is asked for at its lower end; nothing is published",
        ),
        (
            Gate(min_improvement=0.02),
            score(0.8, 0.81, interval=(-0.004, 0.024)),
            "publish.gate: ndcg@10 on held-out went from 0.8000 to 0.8100, an improvement of +0.0100 (95 % interval "
            "-0.0040 to +0.0240) where 0.02 is asked for; nothing is published",
        ),
        (
            Gate(min_improvement=0.005, confidence=0.95),
            score(0.8, 0.81, interval=(-0.004, 0.024)),
            "publish.gate: ndcg@10 on held-out went from 0.8000 to 0.8100, an improvement of +0.0100 (95 % interval "
            "-0.0040 to +0.0240) where 0.005 is asked for at its lower end; nothing is published",
        ),
        (
            Gate(confidence=0.95),
            score(0.8, 0.9),
            "publish.gate.confidence: ndcg@10 on held-out was measured on too few or too many rows to tell how sure "
            "its improvement is; nothing is published. Leave confidence out, or change the size of the set",
        ),
    ],
)
def test_less_is_refused_with_the_numbers(gate: Gate, measured: EvaluationScore, message: str) -> None:
    assert shortfall(gate, measured) == message


def test_an_improvement_is_told_with_its_interval_where_that_is_known() -> None:
    assert improvement_text(score(0.888, 0.947)) == "+0.0590"
    assert improvement_text(score(0.888, 0.947, interval=(0.031, 0.084))) == (
        "+0.0590 (95 % interval +0.0310 to +0.0840)"
    )


@pytest.mark.parametrize(("dataset", "judging"), [(None, "easy"), ("hard", "hard")])
def test_the_gate_looks_at_the_set_that_the_metric_is_taken_from(dataset: str | None, judging: str) -> None:
    scores = [
        EvaluationScore(name=name, metric=metric) for name in ("hard", "easy") for metric in ("mrr@10", "ndcg@10")
    ]

    found = main_score(scores, spec(evaluation={"dataset": dataset}))

    assert found == EvaluationScore(name=judging, metric="ndcg@10")


def test_intervals_are_told_at_the_confidence_of_the_gate() -> None:
    publish = {"repository": "demo/model", "tokenSecret": {"name": "hub-token"}}

    found = [
        confidence_of(spec()),
        confidence_of(spec(publish=publish)),
        confidence_of(spec(publish=publish | {"gate": {"confidence": 0.8}})),
    ]

    assert found == [0.95, 0.95, 0.8]
