"""What prepare takes for pages: `python -m benchmarks.prepare_pages [ROWS ...]`, 1000 and 4000 by default.

A4 pages at 75 dpi as JPEG are reduced to 480 x 704, as for a Qwen3-VL of 360,000 pixels, by the program that runs in a
pod. A few dozen sheets are drawn; comments in the files make each row's page another one. Rates are by CPU time, which
other work on the machine changes little; the start of the program is taken off by a run of 16 rows. Needs about 0.4 GB
of disk per 1000 rows below the temporary folder.
"""

import io
import json
import os
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.figures import report
from benchmarks.training.embedders import PUBLISHED_PIXELS
from benchmarks.training.launch import launch
from benchmarks.training.pages import draw_sheet, place_on_sheets
from benchmarks.training.sides import ENVIRONMENT
from examples.inputs import tiny_qwen3_vl
from examples.inputs.pages import split_pages
from finetune_api import keys
from finetune_api.contract import JobIdentity, RunConfig
from finetune_api.types import FinetuneJobSpec

ROWS = (1000, 4000)
SHEETS = 24
SIZE = (620, 877)
FEW = 16
ROWS_PER_GROUP = 100
WATCH_SECONDS = 0.2


class Prepared(NamedTuple):
    """What one run of prepare took and left."""

    rows: int
    cpu_seconds: float
    seconds: float
    peak_bytes: int
    """Memory."""
    files: int
    kept_bytes: int
    """Below inputs/, without the model."""
    most_bytes: int
    """There at one time."""


def main() -> None:
    """Run the benchmark and print its figures."""
    sizes = [int(rows) for rows in sys.argv[1:]] or list(ROWS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny_qwen3_vl.build(folder / "sources" / "model")
        sheets = draw_sheets()
        few = run(folder, sheets, FEW)
        runs = [run(folder, sheets, rows) for rows in sizes]
    show(few, runs)


def draw_sheets() -> list[bytes]:
    """Return JPEG files of different pages."""
    sheets = []
    for sheet in place_on_sheets(split_pages(num_held_out=0, repeats=1).train[:SHEETS], seed=1):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(draw_sheet(sheet))).resize(SIZE).save(buffer, format="JPEG", quality=90)
        sheets.append(buffer.getvalue())
    return sheets


def run(folder: Path, sheets: list[bytes], rows: int) -> Prepared:
    """Prepare a set of so many rows, as its pod does."""
    write_rows(folder / "sources" / "pages" / "train.parquet", sheets, rows)
    own = folder / f"rows-{rows}"
    own.mkdir()
    (own / "workspace").mkdir()
    (own / "run.json").write_text(build_config().model_dump_json(by_alias=True))
    environment = {
        **ENVIRONMENT,
        "HF_HOME": str(own / "huggingface"),
        keys.ENV_RUN_CONFIG: str(own / "run.json"),
        keys.ENV_WORKSPACE: str(own / "workspace"),
        keys.ENV_CLAIM_SOURCES: str(folder / "sources"),
        keys.ENV_TERMINATION_MESSAGE: str(own / "termination.json"),
    }
    inputs = own / "workspace" / "inputs"
    with Watch(inputs) as watch:
        ran = launch(
            [sys.executable, "-m", "finetune_trainer", "prepare"], environment=environment, log=own / "log.txt"
        )
    kept = sizes_below(inputs)
    return Prepared(
        rows, ran.cpu_seconds, ran.seconds, ran.peak_bytes, len(kept), sum(kept), max(watch.most, sum(kept))
    )


class Watch:
    """Looks again and again at how much lies below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ended, self.most = folder, threading.Event(), 0
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            self.most = max(self.most, sum(sizes_below(self._folder)))


def sizes_below(inputs: Path) -> list[int]:
    """Return the sizes of all files but the model's."""
    sizes = []
    for root, folders, names in os.walk(inputs):
        if "model" in folders:
            folders.remove("model")
        for name in names:
            with suppress(FileNotFoundError):
                sizes.append((Path(root) / name).stat().st_size)
    return sizes


def write_rows(path: Path, sheets: list[bytes], rows: int) -> None:
    """Write rows of a query and a page, no two pages with the same bytes."""
    path.parent.mkdir(exist_ok=True)
    page = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("query", pa.string()), ("image", page)])
    features = {"query": {"dtype": "string", "_type": "Value"}, "image": {"_type": "Image"}}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    with pq.ParquetWriter(path, schema) as file:
        for start in range(0, rows, ROWS_PER_GROUP):
            numbers = range(start, min(rows, start + ROWS_PER_GROUP))
            cells = [{"bytes": with_comment(sheets[number % SHEETS], number), "path": None} for number in numbers]
            queries = [f"what is on page {number}" for number in numbers]
            file.write_table(pa.table({"query": queries, "image": cells}, schema=schema))


def with_comment(jpeg: bytes, number: int) -> bytes:
    """Return a JPEG file with a comment, which changes no pixel."""
    return jpeg[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % number + jpeg[2:]


def build_config() -> RunConfig:
    """Return the job as the operator hands it to the trainer."""
    columns = {"query": "query", "positive": "image"}
    spec = {
        "model": {"source": "pvc://model", "processorKwargs": PUBLISHED_PIXELS},
        "data": {"train": [{"name": "pages", "source": "pvc://pages", "columns": columns}]},
    }
    identity = JobIdentity(namespace="benchmarks", name="pages", uid="uid")
    return RunConfig(job=identity, spec=FinetuneJobSpec.model_validate(spec))


def show(few: Prepared, runs: list[Prepared]) -> None:
    """Print the figures of all runs."""
    rates = {one.rows: (one.rows - few.rows) / (one.cpu_seconds - few.cpu_seconds) for one in runs}
    figures = [("start, of CPU time", few.cpu_seconds, "s", "")]
    for one in runs:
        figures += [
            (f"{one.rows} pages: pages per second of one CPU", rates[one.rows], "/s", ""),
            (f"{one.rows} pages: whole run", one.seconds, "s", ""),
            (f"{one.rows} pages: memory at its highest", one.peak_bytes / 1e6, "MB", ""),
            (f"{one.rows} pages: files kept", one.files, "", "under 100 per 100,000 images"),
            (f"{one.rows} pages: bytes kept per page", one.kept_bytes / one.rows / 1000, "kB", ""),
            (f"{one.rows} pages: most on the volume / kept", one.most_bytes / one.kept_bytes, "", "at most 1.2"),
        ]
    if len(runs) > 1:
        figures.append(("rate of the last size / of the first", rates[runs[-1].rows] / rates[runs[0].rows], "", "1"))
    report("prepare-pages", figures)


if __name__ == "__main__":
    main()
