"""prepare: a slice of a split, or a sum of them, is what the datasets library makes of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from finetune_api.reasons import Reason
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl
from tests.trainer.laying_out import kept, lay_out, read, read_evaluation, text_run, told
from tests.trainer.test_prepare_splits import fetched, qa, run_on
from tests.trainer.test_prepare_tables import write_csv, write_json_lines, write_parquet, write_tables

__all__ = ["qa", "run_on"]
ROWS = [{"question": f"question {i}", "answer": f"answer {i}"} for i in range(30)]
SPLITS = [
    "train[:95%]",
    "train[95%:]",
    "train[10%:20%]",
    "train[-5%:]",
    "train[:-5%]",
    "train[:7]",
    "train[7:]",
    "train[-4:-1]",
    "train[:]",
    "train[:10]+test",
    "test[1:]+train[90%:]",
    "train[5:2]+test",
]


def trained_on(run: Run) -> list[int]:
    """Return the numbers of the questions of the training table."""
    return [int(row["query"].split()[1]) for row in read(run.workspace.train_table("qa"))]


@pytest.mark.parametrize("split", SPLITS)
def test_a_slice_has_the_rows_that_the_library_gives_it(make_run: MakeRun, claim: Path, split: str) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", ROWS[:25])
    write_jsonl(claim / "qa" / "test.jsonl", ROWS[25:])
    theirs = datasets.load_dataset(str(claim / "qa"), split=split, cache_dir=str(claim.parent / "cache"))
    run = text_run(make_run, split=split)

    written = lay_out(run)

    assert [f"question {number}" for number in trained_on(run)] == theirs["question"][:]
    assert (written.datasets[0].rows, written.warnings) == (len(theirs), [])


@pytest.mark.parametrize("write", [write_csv, write_parquet, write_json_lines])
def test_files_of_every_format_are_cut(
    make_run: MakeRun, claim: Path, write: Callable[[Path, list[dict[str, str]]], None]
) -> None:
    write(claim / "qa", ROWS)
    run = text_run(make_run, split="train[10%:20%]", limit=2)

    lay_out(run)

    assert trained_on(run) == [3, 4]


def test_a_folder_of_images_is_cut(make_run: MakeRun, claim: Path) -> None:
    colors = ["red", "green", "blue"]
    (claim / "qa" / "train").mkdir(parents=True)
    for color in colors:
        (claim / "qa" / "train" / f"{color}.png").write_bytes(png(color))
    names = [{"file_name": f"{color}.png", "question": f"a {color} page"} for color in colors]
    write_jsonl(claim / "qa" / "train" / "metadata.jsonl", names)
    run = text_run(make_run, split="train[-2:]", columns={"query": "question", "positive": "image"})

    lay_out(run)

    rows = read(run.workspace.train_table("qa"))
    assert {row["query"]: kept(run, row["positive"]) for row in rows} == {
        "a green page": png("green"),
        "a blue page": png("blue"),
    }


def test_one_split_is_trained_and_evaluated_on(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", ROWS)
    columns = {"query": "question", "positive": "answer"}
    held_out = {"name": "held-out", "source": "pvc://inputs/qa", "split": "train[90%:]", "columns": columns}
    run = text_run(make_run, split="train[:90%]", evaluation=[held_out])

    written = lay_out(run)

    queries, _, _ = read_evaluation(run, "held-out")
    assert trained_on(run) == [*range(27)]
    assert list(queries.values()) == [f"question {i}" for i in range(27, 30)]
    assert written.warnings == []


def test_each_of_three_tables_may_be_a_slice(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", ROWS)
    entries = [{"id": str(i), "text": f"text {i}"} for i in range(4)]
    pairs = [{"query_id": str(i), "corpus_id": str(i)} for i in range(4)]
    write_tables(claim / "held-out", queries=entries, corpus=entries, qrels=pairs)
    tables = {
        "queries": {"subset": "queries", "split": "test[:50%]"},
        "corpus": {"subset": "corpus", "split": "test[:3]"},
        "relevantDocuments": {"subset": "qrels", "split": "test[1:]"},
    }
    run = text_run(make_run, evaluation=[{"name": "held-out", "source": "pvc://inputs/held-out", "tables": tables}])

    lay_out(run)

    assert read_evaluation(run, "held-out") == (
        {"1": "text 1"},
        {"0": "text 0", "1": "text 1", "2": "text 2"},
        [("1", "1")],
    )


def test_of_a_slice_on_the_hub_the_files_of_its_splits_are_fetched(run_on: Callable[..., Run], hub: RunningHub) -> None:
    names = ["data/train-0.parquet", "data/validation-0.parquet"]
    run = run_on(*names, "data/test-0.parquet", split="train[1:] + validation[:1]")

    lay_out(run)

    assert fetched(hub) == {*names}
    assert trained_on(run) == [1, 2, 0]


def test_a_slice_of_a_subset_is_a_slice_of_its_split(run_on: Callable[..., Run], qa: Path) -> None:
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}.parquet\n" for name in ("de", "en")
    )
    (qa / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    run = run_on("de.parquet", "en.parquet", subset="en", split="train[50%:]")

    lay_out(run)

    assert trained_on(run) == [2]


def test_rows_of_a_slice_on_the_hub_are_held_out_of_what_is_fetched_once(
    run_on: Callable[..., Run], hub: RunningHub
) -> None:
    names = ["data/train-0.parquet", "data/test-0.parquet"]
    run = run_on(*names, split="train[:100%]", holdOut=2)

    written = lay_out(run)

    queries, _, _ = read_evaluation(run, "qa-held-out")
    assert fetched(hub) == {"data/train-0.parquet"}
    assert {int(text.split()[1]) for text in queries.values()} == {0, 1, 2} - {*trained_on(run)}
    assert [(one.name, one.rows) for one in written.datasets] == [("qa", 1), ("qa-held-out", 2)]
    assert len({one.revision for one in written.datasets}) == 1


BROKEN: dict[str, tuple[Reason, str]] = {
    "validation[:5%]": (
        Reason.SPLIT_NOT_FOUND,
        "spec.data.train[0].split: 'validation' is not in the dataset; it has train",
    ),
    "train[1000:]": (
        Reason.EMPTY_DATASET,
        "spec.data.train[0]: split 'train[1000:]' of dataset qa has no rows; train has 30",
    ),
    "train[:1%]": (
        Reason.EMPTY_DATASET,
        "spec.data.train[0]: split 'train[:1%]' of dataset qa has no rows; train has 30",
    ),
    "train[:50%](pct1_dropremainder)": (
        Reason.INVALID_ARGUMENT,
        "spec.data.train[0].split: 'train[:50%](pct1_dropremainder)' is wrong because Using \"pct1_dropremainder\" "
        "rounding on a split with less than 100 elements is forbidden: it always results in an empty dataset; "
        "change the slice",
    ),
}


@pytest.mark.parametrize("split", BROKEN)
def test_a_slice_without_rows_is_told(make_run: MakeRun, claim: Path, split: str) -> None:
    write_json_lines(claim / "qa", ROWS)

    assert told(text_run(make_run, split=split)) == BROKEN[split]


def test_a_slice_that_reaches_beyond_the_rows_is_told(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", ROWS)
    run = text_run(make_run, split="train[20:1000]")

    written = lay_out(run)

    assert trained_on(run) == [*range(20, 30)]
    assert written.warnings == ["spec.data.train[0].split: 'train[20:1000]' reaches beyond the 30 rows of split train"]


def test_a_bad_row_of_a_slice_is_named_by_its_place_in_the_split(make_run: MakeRun, claim: Path) -> None:
    rows: list[dict[str, Any]] = [row | ({"answer": " "} if index == 17 else {}) for index, row in enumerate(ROWS)]
    write_json_lines(claim / "qa", rows)

    _, message = told(text_run(make_run, split="train[10:]"))

    assert "1 row of 20 cannot be used (row 17: positive: empty text)" in message
