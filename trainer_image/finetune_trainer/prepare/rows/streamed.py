"""Rows of parquet files whose images stay in the files until their turn comes: the library would copy them all first.

Stands in for `datasets.Dataset` in what `tables.py` and those who read tables ask of one. Other columns are such a
dataset; of images only the row groups with wanted rows are read, a few rows at a time.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from finetune_trainer.prepare.rows.columns import holds_bytes
from finetune_trainer.workspace.problems import InputProblem, as_failure

_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class RowGroup:
    """Some rows of one file."""

    path: Path
    index: int
    first: int
    """Its first row in the split."""


@dataclass(frozen=True)
class ParquetSplit:
    """The files of a split with images in them."""

    features: datasets.Features
    groups: Sequence[RowGroup]
    num_rows: int

    @property
    def images(self) -> list[str]:
        """Return the columns that are left in the files."""
        return [name for name, feature in self.features.items() if holds_bytes(feature)]


def look_at(paths: Sequence[Path], declared: datasets.Features | None) -> ParquetSplit | None:
    """Return what the files hold; None where they hold no images, or where the library has to look at them.

    That is so where they are broken, differ in their columns or are declared to be of other types.
    """
    groups, start, schemas = [], 0, []
    try:
        for path in paths:
            with pq.ParquetFile(path) as file:
                schemas.append(file.schema_arrow)
                for index in range(file.num_row_groups):
                    groups.append(RowGroup(path, index, start))
                    start += file.metadata.row_group(index).num_rows
        features = datasets.Features.from_arrow_schema(schemas[0])
    except Exception:  # noqa: BLE001 - the library will say what it makes of them
        return None
    found = ParquetSplit(features, groups, start)
    is_plain = all(one.equals(schemas[0]) for one in schemas) and declared in (None, features)
    return found if is_plain and found.images and start else None


@dataclass(frozen=True)
class StreamedRows:
    """Some rows of a split."""

    split: ParquetSplit
    others: Any
    """`datasets.Dataset` of the same rows without images; None where no column is left."""
    features: Mapping[str, Any]
    numbers: Sequence[int]
    """Position of each row in the split."""
    explain: Callable[[Exception], InputProblem]
    """Says what is wrong with files that cannot be read."""
    is_arrow: bool = False

    def __len__(self) -> int:
        return len(self.numbers)

    def select(self, indices: Sequence[int]) -> Self:
        """Return those rows, in this order."""
        others = None if self.others is None else self.others.select(indices)
        return replace(self, others=others, numbers=[self.numbers[index] for index in indices])

    def select_columns(self, names: Sequence[str]) -> Any:  # noqa: ANN401 - a `datasets.Dataset` if no images are left
        """Return those columns."""
        others = [name for name in names if not holds_bytes(self.features[name])]
        if len(others) == len(names):
            return self.others.select_columns(others)
        left = self.others.select_columns(others) if others else None
        return replace(self, others=left, features={name: self.features[name] for name in names})

    def cast_column(self, name: str, feature: Any) -> Self:  # noqa: ANN401 - features share no base
        """Return the rows with images under another type; they are read as they are stored in any case."""
        return replace(self, features={**self.features, name: feature})

    def with_format(self, name: str) -> Self:
        """Return the rows as they come in a format: `arrow`."""
        return replace(self, is_arrow=name == "arrow")

    def iter(self, batch_size: int) -> Iterator[Any]:
        """Yield so many rows at a time: lists by column, or an Arrow table of the images alone."""
        images = [name for name in self.features if holds_bytes(self.features[name])]
        found = self._cells(images, batch_size)
        others = iter(() if self.others is None or self.is_arrow else self.others.iter(batch_size))
        for start in range(0, len(self), batch_size):
            table = pa.concat_tables(islice(found, min(batch_size, len(self) - start)))
            yield table if self.is_arrow else {**next(others, {}), **table.to_pydict()}

    def _cells(self, images: list[str], batch_size: int) -> Iterator[pa.Table]:
        """Yield the images of each row, as a table of one row."""
        try:
            for group, numbers in self._runs():
                yield from _read_group(group, numbers, images, batch_size)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise as_failure([self.explain(error)]) from error

    def _runs(self) -> Iterator[tuple[RowGroup, list[int]]]:
        """Yield row groups and which of their rows are next, in ascending order."""
        firsts = [group.first for group in self.split.groups]
        run: list[int] = []
        for number in self.numbers:
            if run and (number <= run[-1] or bisect_right(firsts, number) != bisect_right(firsts, run[-1])):
                yield self.split.groups[bisect_right(firsts, run[-1]) - 1], run
                run = []
            run.append(number)
        if run:
            yield self.split.groups[bisect_right(firsts, run[-1]) - 1], run


def _read_group(group: RowGroup, numbers: list[int], columns: list[str], batch_size: int) -> Iterator[pa.Table]:
    """Yield those rows of a group one by one; what follows the last of them is not read."""
    wanted = deque(numbers)
    with pq.ParquetFile(group.path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        first = group.first
        for batch in file.iter_batches(batch_size, row_groups=[group.index], columns=columns):
            while wanted and wanted[0] < first + len(batch):
                yield pa.Table.from_batches([batch.slice(wanted.popleft() - first, 1)])
            if not wanted:
                return
            first += len(batch)
