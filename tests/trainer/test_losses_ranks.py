# ruff: noqa: ANN401 - torch and its types are imported where a test needs them
"""Two ranks compute the gradient that one process would of the same global batch, for every loss that claims it."""

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_api.contract import RunConfig
from finetune_api.objective import Loss
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.loss_cases import DIMENSION, Case, cases, prepare_case

#: Equal up to rounding: sums of the same numbers in another order.
TOLERANCE = 1e-4


def claims() -> list[Case]:
    """Return the losses that claim it, with most negatives, and settings that make others claim it."""
    from finetune_trainer.losses.table import loss_entry

    found = {(case.kind, case.loss.name): case for case in cases(matryoshka=False) if not case.margins_many}
    shortened = {case.loss.name: case for case in cases(matryoshka=True)}
    triplet = found["Embedding", "TripletLoss"]
    around = Loss(name="AdaptiveLayerLoss", arguments={"loss": "TripletLoss", "n_layers_per_step": -1})
    guided = {"contrast_anchors": False, "temperature": 0.5}
    return [
        *(case for case in found.values() if loss_entry(case.loss.name, case.kind).global_batch),
        with_arguments(found["Embedding", "GISTEmbedLoss"], **guided),
        with_arguments(found["Embedding", "CachedGISTEmbedLoss"], **guided),
        with_arguments(found["Embedding", "EmbedDistillLoss"], projection_dim=DIMENSION),
        replace(triplet, loss=around),
        shortened["MultipleNegativesRankingLoss"],
        shortened["CachedMultipleNegativesRankingLoss"],
    ]


def with_arguments(case: Case, **arguments: Any) -> Case:
    return replace(case, loss=case.loss.model_copy(update={"arguments": {**case.loss.arguments, **arguments}}))


@pytest.fixture(scope="module")
def gradients(
    loss_models: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[list[Any]], list[list[list[Any]]]]:
    """The gradients of each claim's two steps: in one process, and of each of two ranks with half of its batch."""
    alone, together = (
        [
            prepare_case(
                case,
                tmp_path_factory.mktemp("claim"),
                loss_models,
                perDeviceTrainBatchSize=batch_size,
                arguments={"max_grad_norm": 1e9},
            )
            for case in claims()
        ]
        for batch_size in (6, 3)
    )
    (one,) = start_gang(gradients_of, alone, world_size=1).results()
    return one, start_gang(gradients_of, together).results()


@pytest.mark.parametrize("number", range(len(claims())), ids=[str(case) for case in claims()])
def test_two_ranks_move_the_weights_as_one_process_with_the_same_global_batch(
    number: int, gradients: tuple[list[list[Any]], list[list[list[Any]]]]
) -> None:
    alone, together = gradients

    for rank in together:
        for one, other in zip(rank[number], alone[number], strict=True):
            assert np.linalg.norm(one - other) < TOLERANCE * np.linalg.norm(other)


def gradients_of(jobs: Sequence[tuple[RunConfig, Path]]) -> list[list[Any]]:
    """Train each job for its two steps; return the gradient of each, over all that is trained."""
    from transformers import TrainerCallback

    from finetune_trainer.distributed.ranks import join
    from tests.trainer.trainers import open_session, open_trainer

    gc.freeze()  # each training collects garbage; what was imported needs no looking through
    ranks = join(jobs[0][0])
    found: list[list[Any]] = []

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            found[-1].append(flat(trainer.trained))

    for config, root in jobs:
        trainer, _ = open_trainer(open_session(config, Workspace(root), ranks))
        trainer.add_callback(Keep())
        found.append([])
        trainer.train()
    return found


def flat(trained: dict[str, Any]) -> Any:
    """Return all gradients in one array; those of words are summed up, for there are many."""
    parts = [
        one.grad.sum(0) if len(one) > 10_000 else one.grad.flatten() for one in trained.values() if one.grad is not None
    ]
    return np.concatenate([part.numpy() for part in parts])
