# ruff: noqa: ANN401 - the library's types are imported where a rank needs them
"""Data loader workers hand their batches over in shared memory: a full one ends training with its reason."""

import re
import resource
from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl, build_tiny_qwen3_vl_checkpoint
from finetune_api.contract import RunConfig
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.batches.shared_memory import open_more_files
from finetune_trainer.train.gang.records import Records
from tests.trainer.gang import start_gang, train_rank
from tests.trainer.train_inputs import draw_pages, prepare_sets, run_config, text_set
from tests.trainer.trainers import CACHED, VLM_RERANKER

#: Room for a batch of numbers and none for its pages.
ROOM_BYTES = 16_384
MODELS: dict[str, dict[str, Any]] = {"Embedding": {"source": "hf://demo/tiny"}, "Reranker": VLM_RERANKER}


def test_a_rank_may_have_as_many_files_open_as_its_process_may() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        open_more_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_system_that_refuses_more_files_trains_with_those_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")  # as macOS says

    monkeypatch.setattr(resource, "setrlimit", refuse)

    open_more_files()


def prepare(root: Path, kind: str) -> RunConfig:
    """Write a job that reads pages in a worker."""
    training = {
        "loss": {"name": CACHED},
        "perDeviceTrainBatchSize": 4,
        "maxSteps": 1,
        "arguments": {"dataloader_num_workers": 1},
    }
    config = run_config(model=MODELS[kind], training=training, evaluation={})
    questions, pages = draw_pages(Workspace(root), count=4)
    build = build_tiny_qwen3_vl if kind == "Embedding" else build_tiny_qwen3_vl_checkpoint
    build(root / "model", sentences=questions)
    cells = {"query": questions, "positive": pages}
    prepare_sets(root, config, model=root / "model", sets=[text_set("pages", cells, images=["positive"])])
    return config


def train_with_little_shared_memory(config: RunConfig, root: Path, folder: Path) -> int:
    """Train; files that workers make in shared memory cannot grow beyond a limit."""
    import multiprocessing
    import resource

    from torch.utils.data import get_worker_info

    from finetune_trainer.recipe.batches.rows import RowReader

    multiprocessing.set_start_method("fork", force=True)  # as in the training program; the gang's is another
    read = RowReader.read

    def read_and_limit(self: RowReader, row: Any) -> dict[str, Any]:
        assert get_worker_info() is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, ROOM_BYTES))
        return read(self, row)

    RowReader.read = read_and_limit  # type: ignore[method-assign]
    return train_rank(config, root, folder)


@pytest.mark.parametrize("kind", MODELS)
def test_shared_memory_that_is_full_ends_training_and_is_told(kind: str, tmp_path: Path) -> None:
    config = prepare(tmp_path, kind)

    gang = start_gang(train_with_little_shared_memory, config, tmp_path, tmp_path, world_size=1)
    ended = gang.results(limit_seconds=60)

    (record,) = Records(tmp_path).read()
    assert (ended, record.result.reason) == ([1], Reason.OUT_OF_MEMORY)
    assert re.fullmatch(
        r"shared memory ran out \(RuntimeError: unable to resize file <.*> to the right size: File too large \(27\)\); "
        "raise resources.sharedMemory or lower training.arguments.dataloader_num_workers",
        record.result.message,
    )
