"""Which gate decides, and what is said where none can."""

from typing import Any

import pytest

from finetune_api.gate import effective_gate, ungated_note
from finetune_api.sense import notes
from finetune_api.types import FinetuneJobSpec, Gate

PUBLISH = {"repository": "acme/model", "tokenSecret": {"name": "hub-token"}}
EVALUATION = [{"name": "held-out", "source": "hf://acme/qa", "columns": {}}]


def spec(
    *,
    publish: dict[str, Any] | None = PUBLISH,
    evaluation: list[dict[str, Any]] = EVALUATION,
    baseline: bool = True,
    **train: Any,  # noqa: ANN401 - fields of a training set
) -> FinetuneJobSpec:
    return FinetuneJobSpec.model_validate(
        {
            "model": {"source": "hf://acme/base"},
            "data": {"train": [{"name": "qa", "source": "hf://acme/qa", **train}], "evaluation": evaluation},
            "evaluation": {"baseline": baseline},
            "publish": publish,
        }
    )


@pytest.mark.parametrize(
    ("job", "gate"),
    [
        (spec(), Gate()),
        (spec(publish=PUBLISH | {"gate": {}}), Gate()),
        (spec(publish=PUBLISH | {"gate": {"minImprovement": 0.02}}), Gate(min_improvement=0.02)),
        (spec(publish=PUBLISH | {"always": True}), None),
        (spec(evaluation=[], holdOut="5%"), Gate()),
        (spec(evaluation=[]), None),
        (spec(baseline=False), None),
        (spec(publish=None), None),
    ],
)
def test_a_model_has_to_be_better_wherever_it_is_compared_unless_it_is_always_published(
    job: FinetuneJobSpec, gate: Gate | None
) -> None:
    assert effective_gate(job) == gate


@pytest.mark.parametrize(
    ("job", "note"),
    [
        (
            spec(evaluation=[]),
            "spec.publish: there is no evaluation set, so the model is published whether it got better or not; add "
            "data.evaluation, or holdOut to a training set, or set publish.always to say that this is meant",
        ),
        (
            spec(baseline=False),
            "spec.publish: evaluation.baseline is false, so the model is published whether it got better or not; leave "
            "it true, or set publish.always to say that this is meant",
        ),
    ],
)
def test_a_model_that_is_published_unseen_is_told(job: FinetuneJobSpec, note: str) -> None:
    assert ungated_note(job) == note
    assert notes(job) == [note]


@pytest.mark.parametrize(
    "job", [spec(), spec(publish=None, evaluation=[]), spec(publish=PUBLISH | {"always": True}, evaluation=[])]
)
def test_nothing_is_said_of_models_that_are_compared_stay_or_are_always_published(job: FinetuneJobSpec) -> None:
    assert ungated_note(job) is None
