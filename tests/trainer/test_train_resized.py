"""A training goes on with another number of ranks: the same rows in each step, to the same weights."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl
from finetune_api.contract import RunConfig
from finetune_api.losses import Label
from finetune_api.reasons import Reason
from finetune_api.types import Accelerator
from finetune_api.workspace import Workspace
from finetune_trainer.train.gang.records import Records
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import read_manifest
from tests.trainer.gang import start_gang, train_rank
from tests.trainer.train_inputs import prepare_sets, run_config, text_set
from tests.trainer.trainers import CACHED, PLAIN, SAVE_EACH_STEP, read_checkpoint

#: Of sums of the same numbers in another order; a training of other rows is 100 times as far away.
TOLERANCE = 1e-4
LAST = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    build_tiny_qwen3_vl(folder, sentences=[f"question number {number} answer" for number in range(32)])
    return folder


def config_of(loss: str, *, accumulation: int, sharding: str = "None") -> RunConfig:
    arguments = {"gradient_accumulation_steps": accumulation, "adam_epsilon": 1e-3}
    training: dict[str, Any] = {
        "loss": {"name": loss},
        "sharding": sharding,
        "perDeviceTrainBatchSize": 4,
        "learningRate": 1e-2,
        "maxSteps": LAST,
        "arguments": arguments,
    }
    return run_config(training=training, **SAVE_EACH_STEP)


def prepare_rows(root: Path, config: RunConfig, model: Path) -> Workspace:
    columns = {f"{kind}": [f"{kind} number {number}" for number in range(32)] for kind in ("query", "positive")}
    if config.spec.training.loss.name != "CoSENTLoss":
        return prepare_sets(root, config, model=model, sets=[text_set("pages", columns)])
    cells: dict[str, list[Any]] = columns | {"label": [number / 32 for number in range(32)]}
    return prepare_sets(root, config, model=model, sets=[text_set("pages", cells, label=Label.SCORE)])


def train(config: RunConfig, workspace: Workspace, *, world_size: int) -> list[Any]:
    """Train to the end, which every rank has to reach; return their results."""
    records = workspace.root.parent / f"records-{workspace.root.name}-{world_size}"
    records.mkdir()
    start_gang(train_rank, config, workspace.root, records, world_size=world_size).results()
    return [record.result for record in Records(records).read()]


def lose_all_after(workspace: Workspace, *, step: int) -> None:
    """Let the training have been lost after that step."""
    workspace.report.unlink(missing_ok=True)
    for number in range(step + 1, LAST + 1):
        shutil.rmtree(workspace.checkpoints / f"step-{number:06}")


def numbers(checkpoint: Path) -> Any:  # noqa: ANN401 - an array
    """Return all weights and what the optimizer remembers of them, in the order of their names."""
    found = sorted(read_checkpoint(checkpoint).items())
    return np.concatenate([np.frombuffer(content, dtype="f4") for _, content in found])


def losses(workspace: Workspace) -> list[float | None]:
    return [point.loss for point in Report.read(workspace.report).curve if point.loss is not None]


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (config_of(CACHED, accumulation=1), [2, 1, 2]),
        (config_of(CACHED, accumulation=1), [1, 2]),
        (config_of(PLAIN, accumulation=2), [2, 4]),
        (config_of("CoSENTLoss", accumulation=2), [2, 1, 4]),
        (config_of(CACHED, accumulation=1, sharding="Optimizer"), [2, 4, 1]),
        (config_of(CACHED, accumulation=1, sharding="Full"), [2, 4, 1]),
    ],
    ids=["there and back", "more", "accumulated", "fewer, then more", "in shares", "in full shares"],
)
def test_a_training_goes_on_with_other_ranks_to_the_same_weights(
    model: Path, tmp_path: Path, config: RunConfig, sizes: list[int]
) -> None:
    whole = prepare_rows(tmp_path / "whole", config, model)
    train(config, whole, world_size=sizes[0])
    resumed = Workspace(shutil.copytree(whole.root, tmp_path / "resumed"))

    for step, world_size in enumerate(sizes[1:], start=1):
        lose_all_after(resumed, step=step)
        results = train(config, resumed, world_size=world_size)

    expected = numbers(whole.checkpoints / f"step-{LAST:06}")
    found = numbers(resumed.checkpoints / f"step-{LAST:06}")
    assert [result.reason for result in results] == [Reason.TRAINED] * sizes[-1]
    assert np.linalg.norm(found - expected) < TOLERANCE * np.linalg.norm(expected)
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-3)
    assert [one for one in results[0].warnings if "processes" in one] == [
        f"training goes on from step-{step:06} with {now} processes instead of {then}: with the same rows in each step "
        "and other random numbers, as for dropout"
        for step, (then, now) in enumerate(itertools.pairwise(sizes), start=1)
    ]
    manifest = read_manifest(resumed.checkpoints / f"step-{LAST:06}")
    assert manifest is not None
    assert (manifest.began_with, manifest.world_size) == (sizes[0], sizes[-1])


def test_a_gang_of_fewer_ranks_than_the_job_asks_for_begins_with_the_batches_of_a_whole_one(
    model: Path, tmp_path: Path
) -> None:
    config = config_of(CACHED, accumulation=1)
    nodes = config.spec.resources.model_copy(
        update={"nodes": 2, "min_nodes": 1, "accelerator": Accelerator(per_node=1)}
    )
    config = config.model_copy(update={"spec": config.spec.model_copy(update={"resources": nodes})})
    whole, smaller = (prepare_rows(tmp_path / name, config, model) for name in ("whole", "smaller"))

    train(config, whole, world_size=2)
    train(config, smaller, world_size=1)

    expected, found = (numbers(one.checkpoints / f"step-{LAST:06}") for one in (whole, smaller))
    assert np.linalg.norm(found - expected) < TOLERANCE * np.linalg.norm(expected)
    manifest = read_manifest(smaller.checkpoints / f"step-{LAST:06}")
    assert manifest is not None
    assert (manifest.began_with, manifest.world_size) == (2, 1)


def test_ranks_that_cannot_share_its_batches_do_not_begin_anew(model: Path, tmp_path: Path) -> None:
    config = config_of("CoSENTLoss", accumulation=1)
    workspace = prepare_rows(tmp_path / "whole", config, model)
    train(config, workspace, world_size=2)
    lose_all_after(workspace, step=1)

    results = train(config, workspace, world_size=4)

    assert {(one.reason, one.message) for one in results} == {
        (
            Reason.INVALID_ARGUMENT,
            "spec.resources: 4 processes cannot go on with a training that 2 began: its batches cannot be shared among "
            "them with the same rows and the same loss; ask for 1 or 2 processes, or remove train/checkpoints from the "
            "volume to begin anew",
        )
    }
    assert [path.name for path in workspace.checkpoints.iterdir()] == ["step-000001"]
