# ruff: noqa: ANN401 - torch and its types are imported where a test needs them
"""Losses on two ranks: every one leaves both with the same weights, and those that claim it step as one process would.

What is claimed is the gradient that one process computes of the same global batch. With weights of bfloat16 every loss
steps as with those of float32, up to rounding.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_api.contract import RunConfig
from finetune_api.losses import losses_of
from finetune_api.objective import Loss
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.loss_cases import DIMENSION, Case, cases, prepare_case

#: Equal up to rounding: sums of the same numbers in another order.
TOLERANCE = 1e-4
TOLERANCE_OF_BFLOAT16 = 0.02
#: How far loss and gradient with weights of bfloat16 may be from those of float32: 0.035 was seen.
TOLERANCE_OF_PRECISION = 0.08
#: The same of losses whose gradient jumps: 0.14 was seen. SoftmaxLoss takes the absolute difference of two embeddings,
#: and rounding turns the sign of 3 in 256. LambdaLoss weighs documents by their order, and two scores become equal.
TOLERANCE_OF_JUMPS = 0.3
PRECISIONS = ("float32", "bfloat16")
SHARDINGS = ("None", "Optimizer", "Full")
JUMPING = {"SoftmaxLoss", "LambdaLoss"}


def claims() -> list[Case]:
    """Return the losses that claim it, with most negatives, and settings that make others claim it."""
    found = {(case.kind, case.loss.name): case for case in cases(matryoshka=False) if not case.margins_many}
    shortened = {case.loss.name: case for case in cases(matryoshka=True)}
    triplet = found["Embedding", "TripletLoss"]
    distilled = found["Embedding", "EmbedDistillLoss"]
    around = Loss(name="AdaptiveLayerLoss", arguments={"loss": "TripletLoss", "n_layers_per_step": -1})
    guided = {"contrast_anchors": False, "temperature": 0.5}
    return [
        *(case for case in found.values() if losses_of(case.kind)[case.loss.name].global_batch),
        with_arguments(found["Embedding", "GISTEmbedLoss"], **guided),
        with_arguments(found["Embedding", "CachedGISTEmbedLoss"], **guided),
        with_arguments(distilled, projection_dim=DIMENSION),
        replace(triplet, loss=around),
        shortened["MultipleNegativesRankingLoss"],
        shortened["CachedMultipleNegativesRankingLoss"],
        # Layers that losses have of their own are float32: gradients of two precisions are averaged.
        replace(with_arguments(distilled, projection_dim=DIMENSION), dtype="bfloat16"),
        replace(with_arguments(found["Embedding", "MSELoss"], projection_dim=DIMENSION), dtype="bfloat16"),
        replace(found["Embedding", "SoftmaxLoss"], dtype="bfloat16"),
    ]


def with_arguments(case: Case, **arguments: Any) -> Case:
    return replace(case, loss=case.loss.model_copy(update={"arguments": {**case.loss.arguments, **arguments}}))


Gradients = list[list[Any]]
"""Of each claim, those of its two steps."""


@pytest.fixture(scope="module")
def gradients(loss_models: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Gradients]]:
    """The gradients in one process, and of each of two ranks with half of its batch, by how these hold weights."""

    def measure(world_size: int, sharding: str) -> list[Gradients]:
        jobs = [
            prepare_case(
                case,
                tmp_path_factory.mktemp("claim"),
                loss_models,
                perDeviceTrainBatchSize=6 // world_size,
                sharding=sharding,
                arguments={"max_grad_norm": 1e9},
            )
            for case in claims()
        ]
        return start_gang(gradients_of, jobs, world_size=world_size).results()

    return {"one process": measure(1, "None"), **{sharding: measure(2, sharding) for sharding in SHARDINGS}}


@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("number", range(len(claims())), ids=[str(case) for case in claims()])
def test_two_ranks_move_the_weights_as_one_process_with_the_same_global_batch(
    number: int, sharding: str, gradients: dict[str, list[Gradients]]
) -> None:
    (alone,) = gradients["one process"]
    tolerance = TOLERANCE if claims()[number].dtype == "float32" else TOLERANCE_OF_BFLOAT16

    for rank in gradients[sharding]:
        for one, other in zip(rank[number], alone[number], strict=True):
            assert np.linalg.norm(one - other) < tolerance * np.linalg.norm(other)


def each_loss() -> list[Case]:
    """Return each entry of the tables once, with all negatives that it takes; and those that may train a projection."""
    found = {(case.kind, case.loss.name): case for case in cases(matryoshka=False)}
    projecting = [found["Embedding", name] for name in ("MSELoss", "EmbedDistillLoss")]
    return [*found.values(), *(with_arguments(case, projection_dim=DIMENSION) for case in projecting)]


@dataclass(frozen=True)
class Step:
    """One step, as a rank saw it."""

    before: str
    """A hash of all that is trained."""
    after: str
    is_finite: bool
    """Whether all weights are, after it."""
    loss: float
    gradient: Any
    """In the middle of it, over all that is trained."""


#: Whether the weights of layers are whole for all of a step, or while a pass is in them.
SHARES = {"float32 in shares": "Optimizer", "float32 in full shares": "Full"}
Steps = dict[str, list[list[Step]]]
"""By precision of the weights and how they are held, and rank: of each loss."""


@pytest.fixture(scope="module")
def steps(loss_models: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Steps:
    settings: dict[str, Any] = {
        "maxSteps": 1,
        "learningRate": 1e-3,
        "warmupRatio": 0,
        "perDeviceTrainBatchSize": 4,
        "arguments": {"max_grad_norm": 1e9},
    }
    variants = {dtype: (dtype, "None") for dtype in PRECISIONS}
    variants |= {name: ("float32", sharding) for name, sharding in SHARES.items()}

    def measure(dtype: str, sharding: str) -> list[list[Step]]:
        jobs = [
            prepare_case(
                replace(case, dtype=dtype), tmp_path_factory.mktemp("loss"), loss_models, sharding=sharding, **settings
            )
            for case in each_loss()
        ]
        return start_gang(steps_of, jobs).results()

    return {name: measure(*variant) for name, variant in variants.items()}


@pytest.mark.parametrize("variant", [*PRECISIONS, *SHARES])
@pytest.mark.parametrize("number", range(len(each_loss())), ids=[str(case) for case in each_loss()])
def test_a_step_of_any_loss_leaves_both_ranks_with_the_same_finite_weights(
    number: int, variant: str, steps: Steps
) -> None:
    first, second = (rank[number] for rank in steps[variant])

    assert (second.before, second.after) == (first.before, first.after)
    assert first.before != first.after
    assert first.is_finite


@pytest.mark.parametrize("number", range(len(each_loss())), ids=[str(case) for case in each_loss()])
def test_a_step_of_any_loss_is_much_the_same_with_weights_of_bfloat16(number: int, steps: Steps) -> None:
    tolerance = TOLERANCE_OF_JUMPS if each_loss()[number].loss.name in JUMPING else TOLERANCE_OF_PRECISION

    for exact, rounded in zip(*(steps[dtype] for dtype in PRECISIONS), strict=True):
        one, other = exact[number], rounded[number]
        assert np.isfinite(other.loss)
        assert np.isfinite(other.gradient).all()
        assert other.loss == pytest.approx(one.loss, rel=tolerance)
        assert np.linalg.norm(other.gradient - one.gradient) < tolerance * np.linalg.norm(one.gradient)


@pytest.mark.parametrize("variant", SHARES)
@pytest.mark.parametrize("number", range(len(each_loss())), ids=[str(case) for case in each_loss()])
def test_a_step_of_any_loss_is_the_same_in_shares(number: int, variant: str, steps: Steps) -> None:
    for exact, shared in zip(*(steps[variant] for variant in ("float32", variant)), strict=True):
        one, other = exact[number], shared[number]
        assert other.before == one.before
        assert other.loss == pytest.approx(one.loss, rel=TOLERANCE)
        assert np.linalg.norm(other.gradient - one.gradient) < TOLERANCE * np.linalg.norm(one.gradient)


def test_the_step_of_every_loss_in_the_tables_is_shown() -> None:
    from finetune_trainer.recipe.losses.table import EMBEDDING, RERANKER

    shown = {(case.kind, case.loss.name) for case in each_loss()}

    assert shown == {*(("Embedding", name) for name in EMBEDDING), *(("Reranker", name) for name in RERANKER)}


def steps_of(jobs: Sequence[tuple[RunConfig, Path]]) -> list[Step]:
    """Train each job for its only step."""
    import hashlib

    import torch
    from transformers import TrainerCallback

    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.loop.trainer import whole_tensor
    from tests.trainer.trainers import open_session, open_trainer

    gc.freeze()
    ranks = join(jobs[0][0])
    found = []
    made: list[tuple[float, Any]] = []

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            made.append((float(trainer.step_loss), flat(trainer.trained)))

    def trained() -> Any:
        return torch.cat([whole_tensor(one.detach()).float().flatten() for one in trainer.trained.values()])

    def digest(values: Any) -> str:
        return hashlib.sha256(values.numpy().tobytes()).hexdigest()

    for config, root in jobs:
        trainer, _ = open_trainer(open_session(config, Workspace(root), ranks))
        trainer.add_callback(Keep())
        before = digest(trained())
        trainer.train()
        after = trained()
        found.append(Step(before, digest(after), bool(torch.isfinite(after).all()), *made.pop()))
    return found


def gradients_of(jobs: Sequence[tuple[RunConfig, Path]]) -> list[list[Any]]:
    """Train each job for its two steps; return the gradient of each, over all that is trained."""
    from transformers import TrainerCallback

    from finetune_trainer.train.gang.ranks import join
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
    from finetune_trainer.train.loop.trainer import whole_tensor

    gradients = [whole_tensor(one.grad).float() for one in trained.values() if one.grad is not None]
    return np.concatenate(
        [(one.sum(0) if one.ndim > 1 and len(one) > 10_000 else one.flatten()).numpy() for one in gradients]
    )
