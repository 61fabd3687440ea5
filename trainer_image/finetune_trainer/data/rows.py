"""Reads an open table row by row: texts as they are, images as paths of the store, faults where a cell is unusable."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finetune_trainer.data.images import Fault
from finetune_trainer.data.tables import OpenTable
from finetune_trainer.data.workplace import Workplace

_BATCH_ROWS = 64
_LOG_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One usable row."""

    number: int
    """Position in the split, from 0."""
    values: dict[str, str]
    """Part to text, image path or id."""


@dataclass(frozen=True)
class BadRow:
    """One row that is left out."""

    number: int
    id: str | None
    because: str

    def __str__(self) -> str:
        """Return the row as people look it up."""
        name = f"row {self.number}" if self.id is None else f"row {self.number} (id {self.id})"
        return f"{name}: {self.because}"


def read_rows(table: OpenTable, place: Workplace) -> Iterator[Row | BadRow]:
    """Yield every row of the table in order."""
    number, told = 0, time.monotonic()
    for batch in table.rows.iter(batch_size=_BATCH_ROWS):
        cells = _read_batch(table, batch, place)
        ids = [str(value)[:80] for value in batch[table.id_column]] if table.id_column else None
        for values in zip(*cells.values(), strict=True):
            row_id = None if ids is None else ids[number % _BATCH_ROWS]
            yield _row(number, dict(zip(cells, values, strict=True)), row_id)
            number += 1
        if time.monotonic() - told > _LOG_SECONDS:
            told = time.monotonic()
            _log.info("reading", extra={"dataset": table.request.dataset, "rows": number, "of": len(table.rows)})


def _read_batch(table: OpenTable, batch: dict[str, list[Any]], place: Workplace) -> dict[str, list[str | Fault]]:
    cells: dict[str, list[str | Fault]] = {}
    for part, column in table.request.columns.items():
        if table.modalities[part] == "image":
            cells[part] = place.images.keep_all(batch[column], root=table.request.folder, cache=place.cache)
        else:
            cells[part] = [_read_text(value) for value in batch[column]]
    for part, column in table.request.keys.items():
        cells[part] = [Fault("no id") if value is None else str(value) for value in batch[column]]
    return cells


def _read_text(value: object) -> str | Fault:
    if isinstance(value, str) and value.strip():
        return value
    return Fault("empty text")


def _row(number: int, cells: dict[str, str | Fault], row_id: str | None) -> Row | BadRow:
    faults = [f"{part}: {cell.because}" for part, cell in cells.items() if isinstance(cell, Fault)]
    if faults:
        return BadRow(number=number, id=row_id, because=faults[0])
    return Row(number=number, values={part: str(cell) for part, cell in cells.items()})
