# ruff: noqa: ANN401 - torch's types
"""Weights in shares: measured, saved, resumed and published as whole ones are; float32 whatever is computed in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl_checkpoint
from finetune_api.contract import RunConfig
from finetune_api.losses import Label
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.report import Report
from tests.trainer.gang import start_gang, train_gang
from tests.trainer.train_inputs import prepare_pages, prepare_sets, prepare_texts, run_config, text_set
from tests.trainer.trainers import VLM_RERANKER, open_session, open_trainer, train_here, weights_of

#: Of sums of the same numbers in another order.
TOLERANCE = 1e-4
SHARDED, WHOLE, FULL = "Optimizer", "None", "Full"


def weights_in(folder: Path) -> dict[str, Any]:
    """Return what is published."""
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("lora", "shares"), [(None, SHARDED), ({"rank": 4}, SHARDED), (None, FULL)], ids=["all", "adapters", "full"]
)
def test_shares_are_measured_saved_and_left_as_whole_weights_are(lora: Any, shares: str, tmp_path: Path) -> None:
    reports, models, checkpoints = {}, {}, {}
    for sharding in (WHOLE, shares):
        training = {"perDeviceTrainBatchSize": 8, "learningRate": 1e-3, "maxSteps": 4, "sharding": sharding}
        config = run_config(
            model={"source": "hf://demo/tiny"} | ({"lora": lora} if lora else {}),
            training=training | {"arguments": {"adam_epsilon": 1e-3, "gradient_checkpointing": True}},
            evaluation={"every": 3, "batchSize": 4},
        )
        workspace = prepare_pages(tmp_path / sharding, config, held_out=9)  # the last one leaves a rank without a page
        train_gang(config, workspace, tmp_path / f"records-{sharding}")
        reports[sharding] = Report.read(workspace.report)
        models[sharding] = weights_in(workspace.model)
        checkpoints[sharding] = weights_of(workspace.checkpoints / "step-000004")

    scores = {
        sharding: [(one.metric, one.baseline, one.final) for one in report.evaluations]
        for sharding, report in reports.items()
    }
    assert scores[shares] == [(name, *map(pytest.approx, values)) for name, *values in scores[WHOLE]]
    assert models[shares].keys() == models[WHOLE].keys()
    for name, one in models[WHOLE].items():
        assert models[shares][name].dtype == one.dtype
        assert (models[shares][name] - one).norm() <= TOLERANCE * one.norm()
    assert checkpoints[shares].keys() == checkpoints[WHOLE].keys()
    assert reports[shares].model == reports[WHOLE].model


def test_weights_that_are_tied_are_written_in_shares_as_they_are_whole(tmp_path: Path) -> None:
    models = {}
    build_tiny_qwen3_vl_checkpoint(tmp_path / "tiny", sentences=["question number 1", "answer number 2"])
    for sharding in (WHOLE, SHARDED):
        training = {"loss": {"name": "BinaryCrossEntropyLoss"}, "perDeviceTrainBatchSize": 2, "maxSteps": 1}
        config = run_config(model=VLM_RERANKER, training=training | {"sharding": sharding}, evaluation={})
        cells: dict[str, list[Any]] = {"query": ["q 1", "q 2"] * 2, "document": ["a 1", "a 2"] * 2, "label": [0, 1] * 2}
        pairs = text_set("pages", cells, label=Label.SCORE)
        workspace = prepare_sets(tmp_path / sharding, config, model=tmp_path / "tiny", sets=[pairs])
        start_gang(train_here, config, workspace.root).results()
        models[sharding] = weights_in(workspace.model)

    assert models[SHARDED].keys() == models[WHOLE].keys()
    for name, one in models[WHOLE].items():
        assert (models[SHARDED][name] - one).norm() <= 0.01 * one.norm()


@pytest.mark.parametrize(("sharding", "most_move"), [("Auto", True), (WHOLE, False)])
def test_weights_of_bfloat16_move_at_usual_learning_rates_in_shares(
    sharding: str, most_move: bool, text_model: Path, tmp_path: Path
) -> None:
    training = {"perDeviceTrainBatchSize": 4, "learningRate": 2e-5, "maxSteps": 1, "warmupRatio": 0}
    config = run_config(
        model={"source": "hf://demo/tiny", "dtype": "bfloat16"},
        training=training | {"sharding": sharding},
        resources={"accelerator": {"perNode": 1}, "requests": {"cpu": "2"}},
        evaluation={},
    )
    workspace = prepare_texts(tmp_path / "run", config, model=text_model)

    (moved,) = start_gang(part_that_moves, config, workspace.root, world_size=1).results()

    assert (moved > 0.9) is most_move, moved
    assert (moved < 0.5) is not most_move, moved


def part_that_moves(config: RunConfig, root: Path) -> float:
    """Train one step; return which part of the weights that have a gradient is another one after it."""
    from transformers import TrainerCallback

    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.loop.trainer import whole_tensor

    used: list[str] = []

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            used.extend(name for name, one in trainer.trained.items() if "encoder" in name and one.grad is not None)

    trainer, _ = open_trainer(open_session(config, Workspace(root), join(config)))
    trainer.add_callback(Keep())
    before = {name: whole_tensor(one.detach()).clone() for name, one in trainer.trained.items()}
    trainer.train()
    changed = [(whole_tensor(trainer.trained[name].detach()) != before[name]) for name in used]
    return float(sum(one.sum() for one in changed) / sum(one.numel() for one in changed))


@pytest.mark.parametrize("sharding", [SHARDED, FULL])
def test_what_is_published_has_the_precision_that_the_job_states(
    sharding: str, text_model: Path, tmp_path: Path
) -> None:
    training = {"perDeviceTrainBatchSize": 4, "maxSteps": 1, "sharding": sharding}
    config = run_config(model={"source": "hf://demo/tiny", "dtype": "bfloat16"}, training=training, evaluation={})
    workspace = prepare_texts(tmp_path / "run", config, model=text_model)

    start_gang(train_here, config, workspace.root).results()

    assert {str(one.dtype) for one in weights_in(workspace.model).values()} == {"torch.bfloat16"}
    assert Report.read(workspace.report).model.dtype == "bfloat16"


@pytest.mark.parametrize("sharding", [SHARDED, FULL])
@pytest.mark.parametrize("world_size", [2, 4])
def test_each_rank_has_its_share_of_weights_and_of_what_the_optimizer_remembers(
    world_size: int, sharding: str, text_model: Path, tmp_path: Path
) -> None:
    config = run_config(training={"perDeviceTrainBatchSize": 2, "maxSteps": 1, "sharding": sharding}, evaluation={})
    prepare_texts(tmp_path / "run", config, model=text_model)

    ranks = start_gang(bytes_held, config, tmp_path / "run", world_size=world_size).results()

    whole = ranks[0]["whole"]
    held = np.array([(one["weights"], one["optimizer"]) for one in ranks])
    assert held.sum(axis=0) == pytest.approx([whole, 2 * whole])
    assert held.max(axis=0) == pytest.approx(np.array([whole, 2 * whole]) / world_size, rel=0.02)


def bytes_held(config: RunConfig, root: Path) -> dict[str, int]:
    """Train one step; return the bytes that this rank has, and those of all weights that moved."""
    from finetune_trainer.train.gang.ranks import join

    trainer, _ = open_trainer(open_session(config, Workspace(root), join(config)))
    trainer.train()
    trained = [one for one in trainer.trained.values() if trainer.optimizer.state[one]]
    states = [one for state in trainer.optimizer.state.values() for one in state.values() if one.ndim > 0]
    return {
        "whole": sum(one.numel() * 4 for one in trained),
        "weights": sum(one.to_local().nbytes for one in trained),
        "optimizer": sum(one.to_local().nbytes for one in states),
    }


def test_a_step_that_is_begun_again_has_forgotten_the_gradients_of_single_numbers_too() -> None:
    (gradients,) = start_gang(gradients_after_forgetting, world_size=1).results()

    assert gradients == {"weight": None, "scale": None}


def gradients_after_forgetting() -> dict[str, Any]:
    """Go back from a product of a shared weight and a number that stays whole, and forget it."""
    import torch

    from finetune_trainer.train.gang.ranks import Ranks
    from finetune_trainer.train.weights.sharded import Sharded

    model = torch.nn.Module()
    model.weight, model.scale = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.tensor(2.0))
    weights = Sharded(model, [], ranks=Ranks(), full=False)
    weights.gather()
    product: Any = (model.weight * model.scale).sum()
    product.backward()
    weights.forget_gradients()
    return {name: one.grad for name, one in model.named_parameters()}


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_that_go_through_other_layers_and_as_often_as_they_like_have_the_mean_gradient(world_size: int) -> None:
    for found in start_gang(gradients_of_uneven_passes, world_size=world_size).results():
        assert found.keys() == {"left", "head"} | ({"right"} if world_size > 1 else set())
        assert max(found.values()) < 1e-5


def gradients_of_uneven_passes() -> dict[str, float]:
    """Let each rank make passes of its own; return how far each part's gradient is from the mean of all ranks'."""
    import copy

    import torch
    from sentence_transformers.util import distributed

    from finetune_trainer.train.gang.gathers import meeting_to_gather
    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.loop.trainer import whole_tensor
    from finetune_trainer.train.weights.layout import lay_out

    class Paths(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # Three rows for two ranks, or for four: shares are of different lengths, and one is empty.
            self.left, self.right = (torch.nn.ModuleList(torch.nn.Linear(3, 3) for _ in range(2)) for _ in "12")
            self.head, self.unused = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)

        def forward(self, rows: torch.Tensor, way: str) -> torch.Tensor:
            for layer in getattr(self, way):
                rows = layer(rows).tanh()
            found: torch.Tensor = self.head(rows).sum()
            return found

    def make_passes(model: torch.nn.Module) -> None:
        for number in range(2 * ranks.rank + 2):
            rows = torch.full((2, 3), 0.1 * (ranks.rank + number + 1))
            with torch.no_grad():
                model(rows, "left")
            if number:
                model(rows, way).backward()
        with meeting_to_gather(ranks):
            scores = distributed.all_gather_with_grad(model(rows, way).reshape(1))
            (scores @ scores).backward()

    ranks = join(run_config())
    way = "right" if ranks.rank % 2 else "left"
    torch.manual_seed(0)
    model = Paths()
    alone = copy.deepcopy(model)
    make_passes(alone)
    weights = lay_out(model, [], ranks=ranks, sharding="Full")
    weights.gather()
    make_passes(model)
    weights.average_gradients()

    found: dict[str, float] = {}
    for (name, one), other in zip(model.named_parameters(), alone.parameters(), strict=True):
        mean = ranks.add(torch.zeros_like(other) if other.grad is None else other.grad) / ranks.world_size
        if one.grad is not None:
            part = name.split(".")[0]
            found[part] = max(found.get(part, 0.0), float((whole_tensor(one.grad) - mean).abs().max()))
    return found
