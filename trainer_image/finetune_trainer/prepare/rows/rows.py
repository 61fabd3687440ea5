"""Reads an open table row by row: texts as they are, images as names in the store, faults where a cell is unusable."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress
from pathlib import PurePath
from typing import Any

from finetune_api.contract import Stage
from finetune_trainer.prepare.fetch.addresses import is_address
from finetune_trainer.prepare.images.store import Fault
from finetune_trainer.prepare.rows.labels import LabelValue, read_label
from finetune_trainer.prepare.rows.requests import DOCUMENTS, LABEL
from finetune_trainer.prepare.rows.tables import OpenTable
from finetune_trainer.prepare.rows.texts import as_text, is_visible
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.prepare.scans.findings import excerpt

#: Rows of several pages each may hold a hundred megabytes.
_BATCH_ROWS = 16
_BATCHES_AHEAD = 3

#: What one cell holds: as many texts, names of images or ids as there are values in it.
Cell = list[str]
#: Rows as they came, by column.
Batch = dict[str, list[Any]]
#: What they hold, by part.
Columns = dict[str, list[Cell | Fault]]


@dataclass(frozen=True)
class Row:
    """One usable row."""

    number: int
    """Position in the split, from 0."""
    cells: Mapping[str, Cell]
    """Part to its values: exactly one unless the column holds lists, which may be empty, or some are left out."""
    label: LabelValue | None = None
    id: str | None = None
    num_images: int = 0
    remarks: Sequence[tuple[str, str]] = ()
    """What is odd about each image that is, and where: part and file."""

    def one(self, part: str) -> str:
        """Return the value of a part that has one."""
        return self.cells[part][0]

    def bad(self, because: str) -> "BadRow":
        """Return the row as one that is left out after all."""
        return BadRow(number=self.number, id=self.id, because=because)


@dataclass(frozen=True)
class BadRow:
    """One row that is left out."""

    number: int
    id: str | None
    because: str

    def __str__(self) -> str:
        """Return the row as people look it up."""
        return f"{name_row(self)}: {self.because}"


def name_row(row: Row | BadRow) -> str:
    """Return a row as people look it up."""
    return f"row {row.number}" if row.id is None else f"row {row.number} (id {row.id})"


def read_rows(table: OpenTable, place: Workplace) -> Iterator[Row | BadRow]:
    """Yield every row of the table in order."""
    number, count = 0, place.tracker.enter(Stage.READING, dataset=table.request.dataset, of=len(table.rows))
    for batch, columns in _read_batches(table, place):
        labels = _read_labels(table, batch)
        ids = [str(value)[:80] for value in batch[table.id_column]] if table.id_column else None
        for index in range(len(labels)):
            row_id = None if ids is None else ids[index]
            cells = {part: found[index] for part, found in columns.items()}
            row = _row(table.numbers[number], cells, labels[index], row_id)
            given = {part: batch[column][index] for part, column in table.request.columns.items()}
            if isinstance(row, Row):
                row = _without(_with_images(row, table, given, place), table.left_out)
            yield row
            number += 1
        count(number)


def is_negative(part: str) -> bool:
    """Say whether a part is played by a column of negatives."""
    return part.startswith("negative_")


def key_of(value: str) -> bytes:
    """Return a short name of a text or an image, the same for equal ones alone."""
    return hashlib.blake2b(value.encode(), digest_size=16).digest()


def _without(row: Row, left_out: frozenset[bytes]) -> Row:
    """Return the row without such documents among its negatives and candidates, and without their labels."""
    if not left_out:
        return row
    chosen = {
        part: [key_of(value) not in left_out for value in cell]
        for part, cell in row.cells.items()
        if is_negative(part) or part == DOCUMENTS
    }
    kept = {part: [*compress(row.cells[part], chosen[part])] for part in chosen}
    label, flags = row.label, [*chain.from_iterable(chosen.values())]
    # Of scores the first may be that of the answer. A list of another length is told where rows become examples.
    if isinstance(label, list) and 0 <= (surplus := len(label) - len(flags)) <= 1:
        label = [*label[:surplus], *compress(label[surplus:], flags)]
    return replace(row, cells={**row.cells, **kept}, label=label)


def _read_batches(table: OpenTable, place: Workplace) -> Iterator[tuple[Batch, Columns]]:
    """Yield the rows some at a time, as they came and as they are read; images of the next are worked on meanwhile."""
    begun: deque[tuple[Batch, Callable[[], Columns]]] = deque()
    for batch in table.rows.iter(batch_size=_BATCH_ROWS):
        begun.append((batch, _begin_batch(table, batch, place)))
        if len(begun) > _BATCHES_AHEAD:
            first, read = begun.popleft()
            yield first, read()
    yield from ((batch, read()) for batch, read in begun)


def _begin_batch(table: OpenTable, batch: Batch, place: Workplace) -> Callable[[], Columns]:
    """Begin to read a batch; what is returned waits for its images."""
    given = {
        part: [_values(table, part, value) for value in batch[column]] for part, column in table.request.columns.items()
    }
    begun = {part: _begin_values(table, part, [*chain.from_iterable(cells)], place) for part, cells in given.items()}

    def read() -> Columns:
        columns: Columns = {}
        for part, cells in given.items():
            values = iter(begun[part]())
            columns[part] = [_cell([next(values) for _ in cell], many=part in table.many) for cell in cells]
        for part, column in table.request.keys.items():
            columns[part] = [_read_key(value) for value in batch[column]]
        return columns

    return read


def _values(table: OpenTable, part: str, cell: Any) -> list[Any]:  # noqa: ANN401 - a cell of a table
    """Return the values of a cell as they came; a missing list is an empty one."""
    return (cell or []) if part in table.many else [cell]


def _read_key(value: object) -> Cell | Fault:
    if value is None:
        return Fault("no id")
    return [str(value)] if isinstance(value, str | int) else Fault("id is neither text nor whole number")


def _begin_values(table: OpenTable, part: str, values: list[Any], place: Workplace) -> Callable[[], list[str | Fault]]:
    if table.modalities[part] == "image":
        return place.images.begin(values, root=table.request.folder, cache=place.cache)
    return lambda: [_read_text(value, place.tokens) for value in values]


def _read_labels(table: OpenTable, batch: Batch) -> list[LabelValue | Fault | None]:
    request = table.request.label
    if request is None:
        return [None] * len(next(iter(batch.values())))
    return [read_label(value, request.label) for value in batch[request.column]]


def _cell(values: list[str | Fault], *, many: bool) -> Cell | Fault:
    """Return the values of one cell, or the first fault among them."""
    for index, value in enumerate(values):
        if isinstance(value, Fault):
            return Fault(f"value {index} of the list: {value.because}") if many else value
    return [str(value) for value in values]


def _read_text(value: object, tokens: Sequence[str]) -> str | Fault:
    if value is None:
        return Fault("empty text")
    text = as_text(value)
    if text is None:
        return Fault("neither text nor number")
    if token := next((token for token in tokens if token in text), None):
        return Fault(f"text holds {token}, which the model takes for an image, video or sound; write it otherwise")
    return text if is_visible(text) else Fault("empty text")


def _with_images(row: Row, table: OpenTable, given: Mapping[str, Any], place: Workplace) -> Row:
    """Return the row with how many images it has and what is odd about them; `given` are its cells as they came."""
    images = [
        (part, cell, path)
        for part, modality in table.modalities.items()
        if modality == "image"
        for cell, path in zip(_values(table, part, given[part]), row.cells[part], strict=True)
    ]
    remarks = [
        (remark, f"{part}{_named(cell)}") for part, cell, path in images for remark in place.images.remarks_on(path)
    ]
    return replace(row, num_images=len(images), remarks=remarks)


def _named(cell: Any) -> str:  # noqa: ANN401 - a cell of a table
    """Return the file of an image as messages name it, nothing where there is none; addresses may hold secrets."""
    name = cell.get("path") if isinstance(cell, Mapping) else cell
    return f" {excerpt(PurePath(name).name)}" if isinstance(name, str) and not is_address(name) else ""


def _row(
    number: int, cells: Mapping[str, Cell | Fault], label: LabelValue | Fault | None, row_id: str | None
) -> Row | BadRow:
    usable = {part: cell for part, cell in cells.items() if not isinstance(cell, Fault)}
    if len(usable) == len(cells) and not isinstance(label, Fault):
        return Row(number=number, cells=usable, label=label, id=row_id)
    faults = [f"{part}: {cell.because}" for part, cell in {**cells, LABEL: label}.items() if isinstance(cell, Fault)]
    return BadRow(number=number, id=row_id, because=faults[0])
