# ruff: noqa: ANN401 - signatures are the library's
"""Mini-batches that were halved stay so in a training that is resumed: sums in another order are other weights."""

from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import prepare_sets, run_config, text_set
from tests.trainer.trainers import CACHED, SAVE_EACH_STEP, train_and_resume_after_each_step

STEPS, TIGHT_STEP = 4, 2
GIVEN_ROWS = 8


def train_where_one_step_is_tight(config: RunConfig, root: Path) -> Any:
    """Train and resume after each step, on a machine whose last rank has less memory in one of them."""
    import os

    import torch
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss as Loss

    from finetune_trainer.train.loop.trainer import GangTrainer

    make, embed = GangTrainer.training_step, Loss.embed_minibatch
    is_last = os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1)
    step = 0

    def make_and_note(self: GangTrainer, *arguments: Any, **settings: Any) -> torch.Tensor:
        nonlocal step
        step = self.state.global_step + 1
        return make(self, *arguments, **settings)

    def embed_if_it_fits(self: Any, **call: Any) -> Any:
        if is_last and step == TIGHT_STEP and self.mini_batch_size == GIVEN_ROWS:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return embed(self, **call)

    GangTrainer.training_step = make_and_note  # type: ignore[method-assign]
    Loss.embed_minibatch = embed_if_it_fits
    return train_and_resume_after_each_step(config, root)


@pytest.mark.parametrize(
    ("arguments", "sharding"),
    [
        ({}, "None"),
        ({"mini_batch_num_tokens": 64}, "None"),
        ({}, "Optimizer"),
        ({}, "Full"),
        ({"mini_batch_num_tokens": 64}, "Full"),
    ],
    ids=["rows", "tokens", "shares", "full shares", "full shares, tokens"],
)
def test_a_training_resumed_after_memory_ran_out_ends_with_the_weights_of_an_undisturbed_one(
    arguments: dict[str, Any], sharding: str, loss_models: Workspace, tmp_path: Path
) -> None:
    loss = {"name": CACHED, "arguments": arguments | {"mini_batch_size": GIVEN_ROWS}}
    training = {
        "sharding": sharding,
        "loss": loss,
        "perDeviceTrainBatchSize": GIVEN_ROWS,
        "maxSteps": STEPS,
        "learningRate": 1e-3,
    }
    config = run_config(training=training, **SAVE_EACH_STEP)
    cells = {name: [f"{name} number {row} " * (row % 5 + 1) for row in range(64)] for name in ("query", "positive")}
    root = tmp_path / "whole"
    prepare_sets(root, config, model=loss_models.base_model, sets=[text_set("pages", cells)])

    found, _ = start_gang(train_where_one_step_is_tight, config, root).results()

    undisturbed, *resumed = found
    assert resumed == [undisturbed] * (STEPS - 1)
    given, halved = ((root / f"train/checkpoints/step-{step:06}/mini-batches.json").read_text() for step in (1, STEPS))
    assert given != halved, "memory ran out in no step"
