"""prepare: images in parquet files are read from there: no more of them than are needed, and without a copy."""

import random
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_api.reasons import Reason
from finetune_trainer.prepare.rows.streamed import StreamedRows, look_at
from finetune_trainer.workspace.problems import InputProblem
from tests.trainer.conftest import MakeRun, Run, png
from tests.trainer.laying_out import kept, lay_out, read, text_run, told

PAGES = {"query": "query", "positive": "image"}
ROWS = 50
BYTES = "image.bytes"


def page(number: int) -> bytes:
    return png(size=(32 + number, 32))


def write(folder: Path, *, files: int = 2, rows: int = ROWS, group: int = 7, **columns: Any) -> list[Path]:  # noqa: ANN401
    """Write rows of a query and a page, or of other columns, in several files of small row groups."""
    image = datasets.Image()
    cells = columns or {
        "query": [f"q{n}" for n in range(rows)],
        "image": [{"bytes": page(n), "path": None} for n in range(rows)],
        "unused": [b"-" * 100_000] * rows,
    }
    features = {
        "query": datasets.Value("string"),
        "image": image,
        "other": image,
        "images": datasets.List(image),
        "unused": datasets.Value("binary"),
    }
    whole = datasets.Dataset.from_dict(cells, features=datasets.Features({name: features[name] for name in cells}))
    folder.mkdir()
    paths = [folder / f"train-{number}.parquet" for number in range(files)]
    for number, path in enumerate(paths):
        whole.shard(files, number, contiguous=True).to_parquet(path, batch_size=group)
    return paths


def pages_run(make_run: MakeRun, **train: Any) -> Run:  # noqa: ANN401 - fields of a dataset as YAML has them
    return text_run(make_run, columns=train.pop("columns", PAGES), **train)


def rows_of(run: Run) -> list[tuple[str, bytes]]:
    return [(row["query"], kept(run, row["positive"])) for row in read(run.workspace.train_table("qa"))]


def expected(*numbers: int) -> list[tuple[str, bytes]]:
    return [(f"q{number}", page(number)) for number in numbers]


def garble(path: Path) -> None:
    """Break what the last row group of a file holds of images."""
    with pq.ParquetFile(path) as file:
        columns = file.metadata.row_group(file.num_row_groups - 1)
        (images,) = (one for one in map(columns.column, range(columns.num_columns)) if one.path_in_schema == BYTES)
    content = bytearray(path.read_bytes())
    start = images.dictionary_page_offset or images.data_page_offset
    content[start : start + 20] = b"\xff" * 20
    path.write_bytes(content)


def test_rows_of_several_files_and_row_groups_come_in_order_and_images_are_not_copied(
    make_run: MakeRun, claim: Path
) -> None:
    write(claim / "qa")
    run = pages_run(make_run)

    lay_out(run)

    assert rows_of(run) == expected(*range(ROWS))
    copied = list((run.workspace.inputs / ".scratch").rglob("*.arrow"))
    assert sum(path.stat().st_size for path in copied) < 10_000


@pytest.mark.parametrize(
    ("split", "limit", "numbers"),
    [
        ("train[10:40]", None, range(10, 40)),
        ("train[-8:]", 5, range(42, 47)),
        ("train", 20, range(20)),
        ("train[30:]+train[:4]", None, [*range(30, 50), *range(4)]),
    ],
)
def test_slices_sums_and_limits_take_their_rows(
    make_run: MakeRun,
    claim: Path,
    split: str,
    limit: int | None,
    numbers: Any,  # noqa: ANN401 - any ints
) -> None:
    write(claim / "qa")
    run = pages_run(make_run, split=split, **({} if limit is None else {"limit": limit}))

    lay_out(run)

    assert rows_of(run) == expected(*numbers)


def test_images_beyond_the_limit_are_not_read(make_run: MakeRun, claim: Path) -> None:
    _, last = write(claim / "qa")
    garble(last)
    run = pages_run(make_run, limit=25)

    lay_out(run)

    assert rows_of(run) == expected(*range(25))


def test_of_a_large_row_group_a_few_rows_are_in_memory(tmp_path: Path) -> None:
    noise = random.Random(1)
    pages = datasets.Dataset.from_dict(
        {"image": [{"bytes": noise.randbytes(100_000), "path": None} for _ in range(200)]},
        features=datasets.Features({"image": datasets.Image()}),
    )
    pages.to_parquet(tmp_path / "train.parquet", batch_size=200)
    split = look_at([tmp_path / "train.parquet"], None)
    assert split is not None
    rows = StreamedRows(
        split, None, split.features, range(200), lambda error: InputProblem(Reason.BAD_SAMPLES, str(error))
    )
    before = pa.total_allocated_bytes()

    batches = rows.iter(batch_size=4)
    next(batches)

    assert len(split.groups) == 1
    assert pa.total_allocated_bytes() - before < 4_000_000


def test_a_file_whose_images_cannot_be_read_is_told(make_run: MakeRun, claim: Path) -> None:
    _, last = write(claim / "qa")
    garble(last)

    reason, message = told(pages_run(make_run))

    assert reason is Reason.UNREADABLE_DATASET
    assert message.startswith(
        "spec.data.train[0]: dataset qa: train-1.parquet: the rows from row 21 on cannot be read ("
    )
    assert message.endswith("; copy or write the file anew")


def test_images_beside_images_need_no_other_column(make_run: MakeRun, claim: Path) -> None:
    cells = [{"bytes": page(number), "path": None} for number in range(ROWS)]
    write(claim / "qa", image=cells, other=cells[::-1])
    run = pages_run(make_run, columns={"query": "image", "positive": "other"})

    lay_out(run)

    found = [(kept(run, row["query"]), kept(run, row["positive"])) for row in read(run.workspace.train_table("qa"))]
    assert found == [(page(number), page(ROWS - 1 - number)) for number in range(ROWS)]


def test_lists_of_images_are_read_where_they_are(make_run: MakeRun, claim: Path) -> None:
    cells = [{"bytes": page(number), "path": None} for number in range(ROWS)]
    write(
        claim / "qa",
        query=[f"q{number}" for number in range(ROWS)],
        image=cells,
        images=[cells[number - 2 : number] or cells[-2:] for number in range(ROWS)],
    )
    run = pages_run(make_run, columns={**PAGES, "negatives": ["images"]})

    lay_out(run)

    rows = read(run.workspace.train_table("qa"))
    assert rows_of(run) == expected(*range(ROWS))
    assert [kept(run, rows[9][name]) for name in ("negative_0", "negative_1")] == [page(7), page(8)]


def test_rows_that_are_held_out_have_their_own_images(make_run: MakeRun, claim: Path) -> None:
    write(claim / "qa")
    run = pages_run(make_run, holdOut=12)

    found = lay_out(run)

    trained, held = rows_of(run), read(run.workspace.evaluation_folder("qa-held-out") / "queries.parquet")
    assert found.evaluations[0].queries == 12
    assert sorted([*(query for query, _ in trained), *(row["value"] for row in held)]) == sorted(
        f"q{number}" for number in range(ROWS)
    )
    assert dict(trained).items() <= dict(expected(*range(ROWS))).items()
