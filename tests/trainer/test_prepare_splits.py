"""prepare: of a dataset on the Hub, only what holds the wanted splits is fetched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from finetune_trainer.workspace.failures import RunFailure
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl
from tests.trainer.laying_out import kept, lay_out, read
from tests.trainer.test_prepare import push

COLUMNS = {"query": "question", "positive": "answer"}
TEXTS = [{"question": f"question {i}", "answer": f"answer {i}"} for i in range(3)]


@pytest.fixture
def qa(tmp_path: Path) -> Path:
    """The folder of a dataset that goes to the Hub."""
    folder = tmp_path / "qa"
    folder.mkdir()
    return folder


@pytest.fixture
def run_on(make_run: MakeRun, hub: RunningHub, qa: Path, small_model: Path) -> Callable[..., Run]:
    """A function that puts `qa`, with parquet files of these names, on the Hub, and makes a run of fields of it."""

    def run(*names: str, **train: Any) -> Run:  # noqa: ANN401 - fields of a dataset as YAML has them
        for name in names:
            (qa / name).parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_list(TEXTS).to_parquet(qa / name)
        push(hub, qa, "demo/qa")
        push(hub, small_model, "demo/model", kind="model")
        hub.clear()
        dataset = {"name": "qa", "source": "hf://demo/qa", "columns": COLUMNS, **train}
        return make_run(model={"source": "hf://demo/model"}, data={"train": [dataset]}).at(hub.endpoint)

    return run


def fetched(hub: RunningHub) -> set[str]:
    """Return the files of the dataset that were downloaded."""
    paths = [request["path"] for request in hub.requests() if request["method"] == "GET"]
    return {path.split("/resolve/")[1].partition("/")[2] for path in paths if "demo/qa/resolve/" in path}


def test_files_of_other_splits_stay_on_the_hub(run_on: Callable[..., Run], hub: RunningHub) -> None:
    names = [f"data/{split}-0000{number}-of-00002.parquet" for split in ("train", "test") for number in (0, 1)]
    run = run_on(*names)

    lay_out(run)

    assert fetched(hub) == set(names[:2])
    assert len(read(run.workspace.train_table("qa"))) == 6


def test_scripts_of_datasets_are_not_even_fetched(run_on: Callable[..., Run], hub: RunningHub, qa: Path) -> None:
    (qa / "qa.py").write_text("raise SystemExit('run')\n")
    run = run_on("train.parquet")

    lay_out(run)

    assert fetched(hub) == {"train.parquet"}
    assert len(read(run.workspace.train_table("qa"))) == 3


def test_files_of_other_subsets_stay_on_the_hub(run_on: Callable[..., Run], hub: RunningHub, qa: Path) -> None:
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train.parquet\n"
        for name in ("de", "en")
    )
    (qa / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")

    lay_out(run_on("de/train.parquet", "en/train.parquet", "en/test.parquet", subset="en"))

    assert fetched(hub) == {"README.md", "en/train.parquet"}


@pytest.mark.parametrize(
    ("field", "missing", "message"),
    [
        ("split", "validation", "'validation' is not in the dataset; it has train, test"),
        ("subset", "german", "'german' is not in the dataset; it has default"),
    ],
)
def test_a_split_that_is_not_there_is_told_without_fetching_the_others(
    run_on: Callable[..., Run], hub: RunningHub, field: str, missing: str, message: str
) -> None:
    with pytest.raises(RunFailure) as failure:
        lay_out(run_on("data/train-0.parquet", "data/test-0.parquet", **{field: missing}))

    assert failure.value.message == f"spec.data.train[0].{field}: {message}"
    assert fetched(hub) == set()


def test_everything_is_fetched_where_rows_may_refer_to_other_files(
    run_on: Callable[..., Run], hub: RunningHub, qa: Path
) -> None:
    for split in ("train", "test"):
        write_jsonl(qa / f"{split}.jsonl", [{"question": "q", "answer": "red.png"}])
    (qa / "red.png").write_bytes(png("red"))
    run = run_on(columns=COLUMNS | {"images": ["answer"]})

    lay_out(run)

    (row,) = read(run.workspace.train_table("qa"))
    assert fetched(hub) == {"train.jsonl", "test.jsonl", "red.png"}
    assert kept(run, row["positive"]) == png("red")
