"""What ranks log of their ends: a traceback is for mistakes of ours only."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl
from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang, train_rank
from tests.trainer.train_inputs import belong_to, prepare_texts, run_config
from tests.trainer.trainers import CACHED


def config_of(**loss: Any) -> RunConfig:  # noqa: ANN401 - its arguments
    training = {"loss": {"name": CACHED, "arguments": loss}, "perDeviceTrainBatchSize": 2, "maxSteps": 4}
    return run_config(training=training, evaluation={}, checkpoint={"everySteps": 100})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    build_tiny_qwen3_vl(tmp_path / "model", sentences=["question number 1", "answer number 2"])
    return prepare_texts(tmp_path / "workspace", config_of(), model=tmp_path / "model")


def ends_of(log: str) -> list[dict[str, Any]]:
    """Return the lines that tell how a rank ended, whether they carry a traceback instead of it."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    fields = ("level", "event", "rank", "reason", "detail")
    return [
        {name: line[name] for name in fields} | {"traceback": "traceback" in line}
        for line in lines
        if line["event"] in ("rank failed", "rank ended")
    ]


def test_an_end_that_the_user_caused_is_one_line_on_each_rank(workspace: Workspace, tmp_path: Path) -> None:
    config = config_of(scale=1e39)
    belong_to(workspace, config)
    gang = start_gang(train_rank, config, workspace.root, tmp_path)

    assert gang.results() == [1, 1]

    told = {
        "level": "error",
        "event": "rank failed",
        "reason": "NonFiniteLoss",
        "detail": "the loss or its gradient was not a number in 3 steps in a row, the last of them step 3; "
        "nothing is published",
        "traceback": False,
    }
    assert [ends_of(log) for log in gang.logs()] == [[told | {"rank": rank}] for rank in (0, 1)]
    assert not any("Traceback" in log for log in gang.logs())


def train_rank_that_is_asked_to_end(config: RunConfig, root: Path, folder: Path) -> int:
    """Train; rank 1 is asked to end after its first batch."""
    from finetune_trainer.train.gang.stop import StopRequest
    from finetune_trainer.train.loop.trainer import RetrievalTrainer

    step = RetrievalTrainer.training_step

    def step_and_be_asked(self: RetrievalTrainer, *arguments: Any) -> Any:  # noqa: ANN401
        asked.append(True)
        return step(self, *arguments)

    asked: list[bool] = []
    RetrievalTrainer.training_step = step_and_be_asked  # type: ignore[method-assign,assignment]
    StopRequest.__bool__ = lambda _: bool(asked) and os.environ["RANK"] == "1"  # type: ignore[method-assign,assignment]
    return train_rank(config, root, folder)


def test_a_preempted_gang_ends_as_it_should_and_logs_no_error(workspace: Workspace, tmp_path: Path) -> None:
    gang = start_gang(train_rank_that_is_asked_to_end, config_of(), workspace.root, tmp_path)

    assert gang.results() == [0, 0]

    told = {
        "level": "info",
        "event": "rank ended",
        "rank": 0,
        "reason": "Preempted",
        "detail": "asked to end; checkpoint of step 1 saved",
        "traceback": False,
    }
    assert [ends_of(log) for log in gang.logs()] == [[told], []]
    assert not any("Traceback" in log or "error" in log for log in gang.logs())


def train_rank_with_a_mistake(config: RunConfig, root: Path, folder: Path) -> int:
    from finetune_trainer.train.loop.trainer import RetrievalTrainer

    def step(*_: Any) -> None:  # noqa: ANN401
        raise ValueError("a mistake of ours")

    RetrievalTrainer.training_step = step  # type: ignore[method-assign,assignment]
    return train_rank(config, root, folder)


def test_a_mistake_of_ours_is_logged_with_its_traceback(workspace: Workspace, tmp_path: Path) -> None:
    gang = start_gang(train_rank_with_a_mistake, config_of(), workspace.root, tmp_path)

    assert gang.results() == [1, 1]

    for rank, log in enumerate(gang.logs()):
        (told,) = ends_of(log)
        assert told.pop("detail").startswith("ValueError: a mistake of ours (at test_train_logs.py:")
        assert told == {
            "level": "error",
            "event": "rank failed",
            "rank": rank,
            "reason": "TrainerError",
            "traceback": True,
        }
