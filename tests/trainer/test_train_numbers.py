# ruff: noqa: ANN401 - the library's types are imported where a rank needs them
"""A loss or gradient that is no number on one rank: no rank takes the step, and training goes on."""

from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import prepare_texts, run_config
from tests.trainer.trainers import PLAIN, open_session

STEPS = 5
CONFIG = run_config(
    training={"loss": {"name": PLAIN}, "perDeviceTrainBatchSize": 2, "maxSteps": STEPS, "warmupRatio": 0},
    evaluation={},
    checkpoint={"everySteps": 100},
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("numbers")
    build_tiny_qwen3_vl(folder / "model", sentences=["question number 1", "answer number 2"])
    return prepare_texts(folder / "workspace", CONFIG, model=folder / "model", rows=24)


def train_without_some_numbers(root: Path, losses: set[int], gradients: set[int]) -> dict[str, Any]:
    """Train; rank 1 has no loss in some steps and no gradient in others. Return what this rank saw."""
    import hashlib
    from unittest import mock

    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from torch import cat

    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.loop.pacer import Pacer
    from finetune_trainer.train.train import train

    ranks = join(CONFIG)
    session = open_session(CONFIG, Workspace(root), ranks)
    forward, end_step = MultipleNegativesRankingLoss.forward, Pacer.on_step_end
    weights: list[str] = []
    steps = 0

    def forward_without_number(self: Any, *inputs: Any) -> Any:
        nonlocal steps
        steps += 1
        value = forward(self, *inputs)
        if ranks.rank == 1 and steps in losses:
            return value + value.detach() * float("nan")  # the gradient is as before
        return value * float("nan") if ranks.rank == 1 and steps in gradients else value

    def end_and_look(self: Pacer, *state: Any, **settings: Any) -> None:
        trained = cat([one.detach().flatten() for one in self._trainer.trained.values()])
        weights.append(hashlib.sha256(trained.numpy().tobytes()).hexdigest())
        end_step(self, *state, **settings)

    with (
        mock.patch.object(MultipleNegativesRankingLoss, "forward", forward_without_number),
        mock.patch.object(Pacer, "on_step_end", end_and_look),
    ):
        result = train(session)
    seen = session.tracker.read()
    return {
        "reason": result.reason,
        "weights": weights,
        "nonfinite": seen.nonfinite_steps,
        "progress": (seen.progress.step, seen.progress.percent, seen.progress.epoch),
        "loss": seen.metrics.train_loss,
        "curve": [point.step for point in session.tracker.history.curve],
    }


def test_a_number_that_one_rank_alone_lacks_makes_all_leave_the_step_out_and_go_on(workspace: Workspace) -> None:
    first, second = start_gang(train_without_some_numbers, workspace.root, {2}, {3}).results()

    weights = first["weights"]
    assert first == second
    assert (first["reason"], first["nonfinite"]) == (Reason.TRAINED, 2)
    assert weights[0] == weights[1] == weights[2]
    assert len(set(weights[2:])) == 3
    assert first["curve"] == [1, 4, 5]


def test_progress_reaches_the_last_step_whether_or_not_that_was_left_out(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "inputs").symlink_to(workspace.inputs)

    first, second = start_gang(train_without_some_numbers, tmp_path, {STEPS}, set()).results()

    assert first == second
    assert first["progress"] == (STEPS, 100, pytest.approx(STEPS / 6))
    assert (first["reason"], first["nonfinite"], first["curve"]) == (Reason.TRAINED, 1, [1, 2, 3, 4])
    assert first["loss"] > 0
