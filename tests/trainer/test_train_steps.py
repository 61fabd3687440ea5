# ruff: noqa: ANN401 - torch's and the library's types are imported where a rank needs them
"""What makes a step: accumulated batches, clipping and the optimizer, over all that is trained on all ranks."""

from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl
from finetune_api.contract import RunConfig
from finetune_api.losses import Label
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import prepare_sets, run_config, text_set
from tests.trainer.trainers import open_session, open_trainer

PAIRS = {"query": "query", "document": "document", "label": "label"}
LEARNING_RATE = 1e-2


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("steps")
    build_tiny_qwen3_vl(folder / "model", sentences=["is this the one", "that is number 7"])
    cells: dict[str, list[Any]] = {
        "query": [f"is this the one {n}" for n in range(24)],
        "document": [f"that is number {n}" for n in range(24)],
        "label": [n % 3 for n in range(24)],
    }
    sets = [text_set("pairs", cells, label=Label.CLASS)]
    return prepare_sets(folder / "workspace", config_of(), model=folder / "model", sets=sets)


def config_of(*, batch_size: int = 4, **arguments: Any) -> RunConfig:
    """Return a job of three steps of plain gradient descent, on pairs and classes."""
    training = {
        "loss": {"name": "SoftmaxLoss", "arguments": {"num_labels": 3}},
        "perDeviceTrainBatchSize": batch_size,
        "maxSteps": 3,
        "learningRate": LEARNING_RATE,
        "warmupRatio": 0,
        "arguments": {"optim": "sgd", "lr_scheduler_type": "constant"} | arguments,
    }
    data = {"train": [{"name": "pairs", "source": "hf://demo/pairs", "columns": PAIRS}]}
    return run_config(data=data, training=training, evaluation={})


def steps_of(root: Path, configs: list[RunConfig]) -> list[list[dict[str, Any]]]:
    """Train each job; return of each step the loss, the norm, the rows and how far the weights went."""
    import torch
    from transformers import TrainerCallback

    from finetune_trainer.train.gang.ranks import join

    ranks = join(configs[0])
    found: list[list[dict[str, Any]]] = []

    def weights() -> Any:
        return torch.cat([one.detach().flatten() for one in trainer.trained.values()])

    class Keep(TrainerCallback):  # type: ignore[misc]
        before: Any = None

        def on_step_end(self, *_: Any, **__: Any) -> None:
            (loss,) = ranks.sum(float(trainer.step_loss))
            made = {"loss": loss / ranks.world_size, "norm": trainer.step_grad_norm, "rows": trainer.step_rows}
            found[-1].append(made | {"way": float((weights() - self.before).norm()), "sum": float(weights().sum())})
            self.before = weights()

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.before = weights()

    for config in configs:
        trainer, _ = open_trainer(open_session(config, Workspace(root), ranks))
        trainer.add_callback(Keep())
        found.append([])
        trainer.train()
    return found


def test_accumulated_batches_on_two_ranks_step_as_one_batch_of_all_rows_does(workspace: Workspace) -> None:
    accumulated = config_of(batch_size=2, gradient_accumulation_steps=2)

    by_rank = start_gang(steps_of, workspace.root, [accumulated]).results()
    ((whole,),) = start_gang(steps_of, workspace.root, [config_of(batch_size=8)], world_size=1).results()

    assert [step["rows"] for step in whole] == [8, 8, 8]
    for (steps,) in by_rank:
        assert steps == [pytest.approx(step, rel=1e-4) for step in whole]


def test_the_norm_that_is_clipped_is_that_of_all_ranks_and_of_what_the_loss_trains_too(workspace: Workspace) -> None:
    clipped = config_of(batch_size=4, max_grad_norm=0.01)
    free = config_of(batch_size=4, max_grad_norm=0)

    of_two, of_the_other = start_gang(steps_of, workspace.root, [clipped, free]).results()

    first, second = of_two
    assert first[0]["norm"] == second[0]["norm"] > 0.01
    assert [step["way"] for step in first] == pytest.approx([LEARNING_RATE * 0.01] * 3, rel=1e-2)
    assert [step["way"] for step in second] == pytest.approx(
        [LEARNING_RATE * step["norm"] for step in second], rel=1e-2
    )
    assert of_two == of_the_other
