"""Writes `inputs/data/train.parquet`: query, positive, negative_0, ... as texts or image paths."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from finetune_trainer.data.manifest import Column, PreparedTrain
from finetune_trainer.data.requests import POSITIVE, QUERY
from finetune_trainer.data.rows import BadRow, read_rows
from finetune_trainer.data.tables import OpenTable
from finetune_trainer.data.tally import Tally
from finetune_trainer.data.workplace import Workplace

Pair = tuple[str, str]

_ROWS_PER_GROUP = 10_000


@dataclass(frozen=True)
class WrittenTrain:
    """The table and what was noticed while it was written."""

    prepared: PreparedTrain
    tally: Tally
    leaked: int
    """Rows whose query and positive are also a held-out pair."""


def write_train(table: OpenTable, path: Path, *, held_out: set[Pair], place: Workplace) -> WrittenTrain:
    """Write the usable rows of `table` to `path` and count the others."""
    tally = Tally(f"{table.request.field}: dataset {table.request.dataset}")
    parts = list(table.request.columns)
    leaked = 0
    with _writing(path, parts) as write:
        for row in read_rows(table, place):
            if isinstance(row, BadRow):
                tally.skip(row)
                continue
            tally.used += 1
            leaked += (row.values[QUERY], row.values[POSITIVE]) in held_out
            write(row.values)
    columns = [Column(name=part, modality=table.modalities[part]) for part in parts]
    prepared = PreparedTrain(name=table.request.dataset, columns=columns, rows=tally.used)
    return WrittenTrain(prepared=prepared, tally=tally, leaked=leaked)


class _Writer:
    """Collects rows and writes them in groups, so that memory does not grow with the table."""

    def __init__(self, writer: parquet.ParquetWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._rows: list[dict[str, str]] = []

    def __call__(self, values: dict[str, str]) -> None:
        self._rows.append(values)
        if len(self._rows) >= _ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


@contextmanager
def _writing(path: Path, parts: list[str]) -> Iterator[_Writer]:
    schema = pa.schema([(part, pa.string()) for part in parts])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with parquet.ParquetWriter(partial, schema) as file:
        writer = _Writer(file, schema)
        yield writer
        writer.flush()
    partial.rename(path)
