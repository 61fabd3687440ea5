# ruff: noqa: ANN401 - the library's types are imported where a rank needs them
"""`fp16: true` of accelerators without bfloat16: float16 autocast whose loss is scaled, played on CPUs."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl
from finetune_api.contract import RunConfig
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.failures import RunFailure
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import prepare_texts, run_config
from tests.trainer.trainers import CACHED, PLAIN, copy_until, open_session, open_trainer

STEPS = 4
SCALE = 1024.0
#: With which gradients are infinite in float16, until it is halved twice.
TOO_MUCH = 2.0**17


def config_of(loss: str = PLAIN, **training: Any) -> RunConfig:
    training = {"loss": {"name": loss}, "perDeviceTrainBatchSize": 4, "maxSteps": STEPS, "warmupRatio": 0} | training
    return run_config(training=training, evaluation={}, checkpoint={"everySteps": 2, "keep": 100})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("scaling")
    build_tiny_qwen3_vl(folder / "model", sentences=["question number 1", "answer number 2"])
    return prepare_texts(folder / "workspace", config_of(), model=folder / "model", rows=32)


@contextmanager
def float16_on_cpu(scale: float) -> Iterator[None]:
    """Let the trainer take this CPU for an accelerator that is asked for `fp16: true`, with a first scale."""
    import torch
    from accelerate import Accelerator

    from finetune_trainer.train.loop import build

    before = Accelerator.__init__

    def with_scaler(self: Accelerator, *given: Any, **settings: Any) -> None:
        before(self, *given, **settings)
        self.native_amp, self.scaler = True, torch.amp.GradScaler("cpu", init_scale=scale)

    with (
        mock.patch.object(build, "autocast_dtype", return_value=torch.float16),
        mock.patch.object(Accelerator, "__init__", with_scaler),
    ):
        yield


def train_scaled(config: RunConfig, root: Path, scale: float) -> dict[str, Any]:
    """Train in float16; return what this rank saw."""
    import torch

    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.loop.pacer import Pacer
    from finetune_trainer.train.train import train

    ranks = join(config)
    session = open_session(config, Workspace(root), ranks)
    end_step, seen = Pacer.on_step_end, []
    products: set[str] = set()
    linear = torch.nn.Linear.forward

    def look(self: Any, one: torch.Tensor) -> torch.Tensor:
        product = linear(self, one)
        products.add(str(product.dtype))
        return product

    def end_and_look(self: Pacer, *state: Any, **settings: Any) -> None:
        trained = torch.cat([one.detach().flatten() for one in self._trainer.trained.values()])
        digest = hashlib.sha256(trained.numpy().tobytes()).hexdigest()
        seen.append((digest, self._trainer.accelerator.scaler.get_scale()))
        end_step(self, *state, **settings)

    with (
        float16_on_cpu(scale),
        mock.patch.object(Pacer, "on_step_end", end_and_look),
        mock.patch.object(torch.nn.Linear, "forward", look),
    ):
        result = train(session)
    return {
        "reason": result.reason,
        "weights": [digest for digest, _ in seen],
        "scales": [scale for _, scale in seen],
        "warnings": session.tracker.history.warnings,
        "broken": session.tracker.read().nonfinite_steps,
        "products": products,
    }


@pytest.mark.parametrize("loss", [PLAIN, CACHED])
def test_float16_trains_on_nearly_the_gradients_of_float32(workspace: Workspace, loss: str) -> None:
    expected = first_gradient_norm(config_of(loss), workspace.root)

    with float16_on_cpu(SCALE):
        norm = first_gradient_norm(config_of(loss), workspace.root)

    assert norm == pytest.approx(expected, rel=0.01)
    assert norm != expected


def first_gradient_norm(config: RunConfig, root: Path) -> float:
    """Return the norm of the first step's gradient, as the Pacer looks at it."""
    from finetune_trainer.train.gang.ranks import Ranks

    trainer, _ = open_trainer(open_session(config, Workspace(root), Ranks()))
    norms = []
    clip = trainer._get_grad_norm

    def keep(*given: Any, **settings: Any) -> Any:
        norms.append(float(clip(*given, **settings)))
        raise KeyboardInterrupt

    trainer._get_grad_norm = keep
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    return norms[0]


def test_steps_are_left_out_by_all_ranks_until_the_scale_fits_and_a_resumed_training_goes_on_with_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    whole, resumed = (Workspace(tmp_path / name) for name in ("whole", "resumed"))
    shutil.copytree(workspace.root, whole.root)

    first, second = start_gang(train_scaled, config_of(), whole.root, TOO_MUCH).results()
    copy_until(whole, resumed, last=whole.checkpoints / "step-000002")
    (again, _) = start_gang(train_scaled, config_of(), resumed.root, TOO_MUCH).results()

    assert first == second
    assert first["reason"] is Reason.TRAINED
    assert first["products"] == {"torch.float16"}
    halved = [now < before for before, now in pairwise([TOO_MUCH, *first["scales"]])]
    assert halved[0]
    assert [now == before for before, now in pairwise(first["weights"])] == halved[1:]
    assert (first["warnings"], first["broken"]) == (
        [
            f"training.arguments.fp16: {sum(halved)} of 4 steps were left out because their gradients were too large "
            "for float16; from each on the loss was scaled half as much"
        ],
        0,
    )
    assert (again["weights"], again["scales"]) == (first["weights"][2:], first["scales"][2:])


def test_a_loss_that_is_no_number_is_not_taken_for_a_scale_that_is_too_large(
    workspace: Workspace, tmp_path: Path
) -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from finetune_trainer.train.gang.ranks import Ranks
    from finetune_trainer.train.train import train

    root = shutil.copytree(workspace.root, tmp_path / "workspace")
    forward = MultipleNegativesRankingLoss.forward

    def without_number(self: Any, *given: Any) -> Any:
        return forward(self, *given) * float("nan")

    with (
        float16_on_cpu(SCALE),
        mock.patch.object(MultipleNegativesRankingLoss, "forward", without_number),
        pytest.raises(RunFailure) as failure,
    ):
        train(open_session(config_of(), Workspace(root), Ranks()))

    assert failure.value.reason is Reason.NON_FINITE_LOSS
    assert failure.value.message.endswith(
        "step 3; nothing is published; in float16 values above 65504 are infinite: leave training.arguments.fp16 out"
    )
