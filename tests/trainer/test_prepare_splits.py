"""prepare: of a dataset on the Hub, only what holds the wanted splits is fetched."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from huggingface_hub.hf_file_system import HfFileSystemFile

from finetune_api.datasets import EvaluationDataset
from finetune_api.reasons import Reason
from finetune_trainer.prepare.fetch import heads
from finetune_trainer.workspace.failures import RunFailure
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl
from tests.trainer.laying_out import kept, lay_out, read, told
from tests.trainer.test_prepare import push

COLUMNS = {"query": "question", "positive": "answer"}
TEXTS = [{"question": f"question {i}", "answer": f"answer {i}"} for i in range(3)]
SCANNED = datasets.Features(
    {**dict.fromkeys(("question", "answer"), datasets.Value("string")), "scan": datasets.Image()}
)


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


def numbered(folder: Path, *, files: int = 3, rows: int = 40) -> list[str]:
    """Write so many files of numbered rows, of which each has an image besides; return their names."""
    names = [f"data/train-{number:05}-of-{files:05}.parquet" for number in range(files)]
    noise = random.Random(1)
    for number, name in enumerate(names):
        cells = [
            {"question": f"q{row}", "answer": f"a{row}", "scan": {"bytes": noise.randbytes(20_000), "path": None}}
            for row in range(number * rows, (number + 1) * rows)
        ]
        (folder / name).parent.mkdir(exist_ok=True)
        datasets.Dataset.from_list(cells, features=SCANNED).to_parquet(folder / name, batch_size=10)
    return names


def with_data(run: Run, **data: Any) -> Run:  # noqa: ANN401 - fields of spec.data
    """Return the run on other data."""
    spec = run.config.spec
    spec = spec.model_copy(update={"data": spec.data.model_copy(update=data)})
    return replace(run, config=run.config.model_copy(update={"spec": spec}))


def questions(run: Run) -> list[str]:
    return [row["query"] for row in read(run.workspace.train_table("qa"))]


def kept_files(run: Run) -> dict[str, Path]:
    """Return the parquet files of the dataset as they lie on the volume, by name."""
    (folder,) = (run.workspace.inputs / ".scratch" / "repositories" / "demo--qa").glob("?" * 40)
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.parquet")}


def test_rows_beyond_the_limit_stay_on_the_hub(
    run_on: Callable[..., Run], hub: RunningHub, qa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_BLOCK_BYTES", 16 * 1024)
    monkeypatch.setattr(heads, "_BUFFER_BYTES", 16 * 1024)
    read_range, ranges = HfFileSystemFile._fetch_range, list[int]()

    def counted(file: HfFileSystemFile, start: int, end: int) -> bytes:
        ranges.append(end - start)
        return bytes(read_range(file, start, end))

    monkeypatch.setattr(HfFileSystemFile, "_fetch_range", counted)
    names = numbered(qa)
    run = run_on(limit=45)

    lay_out(run)

    assert questions(run) == [f"q{number}" for number in range(45)]
    assert fetched(hub) == set(names[:2])
    assert {name: pq.read_metadata(path).num_rows for name, path in kept_files(run).items()} == dict(
        zip(names, (40, 5, 0), strict=True)
    )
    assert sum(ranges) < (qa / names[1]).stat().st_size * 2 // 3
    whole = pq.read_schema(qa / names[1])
    assert all(pq.read_schema(path).equals(whole, check_metadata=True) for path in kept_files(run).values())


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        (("train[:7]", None, 1), range(7)),
        (("train[35:]", 6, 2), range(35, 41)),
        (("train[35:50]", 6, 2), range(35, 41)),
        (("train", 40, 1), range(40)),
        (("train", 1000, 3), range(120)),
        (("train[-5:]", 3, 3), range(115, 118)),
        (("train[50%:]", 3, 3), range(60, 63)),
        (("train[:5]+train[90:]", 6, 3), [*range(5), 90]),
    ],
)
def test_limits_and_slices_take_the_same_rows_however_few_files_are_fetched(
    run_on: Callable[..., Run], hub: RunningHub, qa: Path, fields: tuple[str, int | None, int], rows: Sequence[int]
) -> None:
    names, (split, limit, num_files) = numbered(qa), fields
    run = run_on(split=split, limit=limit)

    written = lay_out(run)

    assert questions(run) == [f"q{number}" for number in rows]
    assert fetched(hub) == set(names[:num_files])
    assert written.warnings == []


def test_a_split_that_another_set_reads_whole_is_fetched_whole(
    run_on: Callable[..., Run], hub: RunningHub, qa: Path
) -> None:
    names = numbered(qa)
    held_out = EvaluationDataset.model_validate({"name": "held-out", "source": "hf://demo/qa", "columns": COLUMNS})
    run = run_on(limit=5)

    written = lay_out(with_data(run, evaluation=[held_out.model_copy(update={"split": "train"})]))

    assert fetched(hub) == set(names)
    assert {one.name: one.rows for one in written.datasets} == {"qa": 5, "held-out": 120}


def test_where_first_rows_cannot_be_read_alone_whole_files_are_fetched(
    run_on: Callable[..., Run], hub: RunningHub, qa: Path
) -> None:
    names = numbered(qa)
    run = run_on(limit=45)
    hub.fail({"status": 416}, path=f"resolve/.*{names[1]}")

    lay_out(run)

    assert questions(run) == [f"q{number}" for number in range(45)]
    assert fetched(hub) == set(names)


def test_a_hub_that_cannot_answer_now_is_told_and_whole_files_are_not_asked_for(
    run_on: Callable[..., Run], hub: RunningHub, qa: Path
) -> None:
    names = numbered(qa)
    run = run_on(limit=45)
    hub.fail({"status": 425}, path=f"resolve/.*{names[1]}")

    reason, message = told(run)

    assert reason is Reason.HUB_UNAVAILABLE
    assert "fetching dataset demo/qa at" in message
    assert names[2] not in fetched(hub)


def test_first_rows_that_are_there_are_not_fetched_again_and_more_of_them_are(
    run_on: Callable[..., Run], qa: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = numbered(qa)
    run = run_on(limit=45)
    caplog.set_level("INFO")

    for _ in range(2):
        lay_out(run)
    (train,) = run.config.spec.data.train
    lay_out(with_data(run, train=[train.model_copy(update={"limit": None})]))

    events = [vars(record) for record in caplog.records if record.message == "first rows fetched"]
    assert [(one["path"], one["rows"]) for one in events] == [(names[1], 5), (names[2], 0)]
    assert len(questions(run)) == 120


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
