"""Writes `inputs/data/train/NAME.parquet`: texts or image paths in the columns of the loss, then the label."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from finetune_api.losses import Label
from finetune_api.reasons import Reason
from finetune_trainer.prepare.layout.examples import Example, examples_of, write_example
from finetune_trainer.prepare.layout.tally import Tally
from finetune_trainer.prepare.rows.forms import Form, columns_of, schema_of
from finetune_trainer.prepare.rows.requests import DOCUMENT, POSITIVE, QUERY
from finetune_trainer.prepare.rows.rows import BadRow, Row, name_row, read_rows
from finetune_trainer.prepare.rows.tables import OpenTable
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.recipe.themselves import Pair
from finetune_trainer.workspace.manifest import Column, PreparedTrain
from finetune_trainer.workspace.problems import InputProblem

#: Held-out pairs of query and document, by content, of each evaluation set.
HeldOut = Mapping[str, set[Pair]]
#: Held-out queries of each.
HeldOutQueries = Mapping[str, set[str]]
#: Gives examples the negatives that were found for them; those for which too few were found are missing.
Mine = Callable[[Sequence[Example], Sequence[Column]], Iterable[Example]]

_ROWS_PER_GROUP = 10_000


@dataclass
class Leaks:
    """Rows of a training set that an evaluation set has, too."""

    rows: int = 0
    first: str = ""
    """How the first of them is looked up."""

    def add(self, row: Row) -> None:
        """Count a row."""
        self.rows += 1
        self.first = self.first or name_row(row)


@dataclass
class WrittenTrain:
    """The table and what was noticed while it was written."""

    name: str
    form: Form
    columns: list[Column]
    tally: Tally
    rows: int = 0
    """Rows that were written."""
    short: int = 0
    """Examples that were left out because they have too few negatives."""
    leaked: defaultdict[str, Leaks] = field(default_factory=lambda: defaultdict(Leaks))
    """Rows with a held-out pair, by evaluation set."""
    asked: defaultdict[str, Leaks] = field(default_factory=lambda: defaultdict(Leaks))
    """Rows with a held-out query and other documents, by evaluation set."""
    cells: dict[str, set[int]] = field(default_factory=dict)
    """Hashes of the queries and answers, by column."""

    @property
    def prepared(self) -> PreparedTrain:
        """Return what the manifest says about the table."""
        distinct = {name: len(cells) for name, cells in self.cells.items()}
        return PreparedTrain(
            name=self.name, columns=self.columns, label=self.form.label, rows=self.rows, distinct=distinct
        )

    def count(self, row: Mapping[str, Any]) -> None:
        """Count a row that is written."""
        self.rows += 1
        if self.form.label is Label.NONE:
            for name in (QUERY, POSITIVE, DOCUMENT):
                if name in row:
                    self.cells.setdefault(name, set()).add(hash(row[name]))

    def problem(self) -> InputProblem | None:
        """Return what is wrong if rows were read but none has negatives enough to be written."""
        if self.rows or not self.tally.used:
            return None
        message = f"{self.tally.where}: no row has {self.form.fewest_negatives} negatives; ask for fewer"
        return InputProblem(Reason.EMPTY_DATASET, message)

    def warnings(self) -> Iterator[str]:
        """Yield what deserves a look."""
        for name, leaks in self.leaked.items():
            yield (
                f"{self.tally.where}: {leaks.rows} rows are also held-out pairs of the evaluation set {name}, for "
                f"example {leaks.first}, so its scores will be too good; take them out of one of the two"
            )
        for name, leaks in self.asked.items():
            yield (
                f"{self.tally.where}: {leaks.rows} rows have a query of the evaluation set {name} and other documents, "
                f"for example {leaks.first}, so its scores may be too good; take them out of one of the two"
            )
        fewest, most = self.form.fewest_negatives, self.form.most_negatives
        if self.short:
            yield f"{self.tally.where}: {self.short} rows have less than {fewest} negatives; they are left out"
        if 0 < self.form.num_negatives < most:
            yield f"{self.tally.where}: some rows have up to {most} negatives; the first {fewest} of each are taken"


def write_train(  # noqa: PLR0913 - each is a part of its own
    table: OpenTable, form: Form, path: Path, *, held_out: HeldOut, place: Workplace, mine: Mine | None
) -> WrittenTrain:
    """Write the usable rows of `table` to `path` and count the others."""
    written = WrittenTrain(table.request.dataset, form, columns_of(form, table), Tally(table.where))
    queries = {name: {query for query, _ in pairs} for name, pairs in held_out.items()}
    examples: Iterable[Example] = _read_examples(table, written, held_out, queries, place)
    if mine is not None:
        given = list(examples)
        place.images.commit()  # the miner reads them
        examples = list(mine(given, written.columns))
        written.short = len(given) - len(examples)
    with _writing(path, schema_of(form, written.columns)) as write:
        for example in examples:
            if len(example.negatives) < form.fewest_negatives:
                written.short += 1
                continue
            for row in write_example(example, form):
                written.count(row)
                write(row)
    return written


def _read_examples(
    table: OpenTable, written: WrittenTrain, held_out: HeldOut, queries: HeldOutQueries, place: Workplace
) -> Iterator[Example]:
    for row in read_rows(table, place):
        if isinstance(row, BadRow):
            written.tally.skip(row)
            continue
        examples = examples_of(row, written.form)
        if isinstance(examples, BadRow):
            written.tally.skip(examples)
            continue
        written.tally.use(row)
        pairs = {pair for example in examples for pair in example.pairs()}
        for name, known in held_out.items():
            if not known.isdisjoint(pairs):
                written.leaked[name].add(row)
            elif any(query in queries[name] for query, _ in pairs):
                written.asked[name].add(row)
        yield from examples


class _Writer:
    """Collects rows and writes them in groups, so that memory does not grow with the table."""

    def __init__(self, writer: parquet.ParquetWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._rows: list[dict[str, Any]] = []

    def __call__(self, values: dict[str, Any]) -> None:
        self._rows.append(values)
        if len(self._rows) >= _ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


@contextmanager
def _writing(path: Path, schema: pa.Schema) -> Iterator[_Writer]:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with parquet.ParquetWriter(partial, schema) as file:
        writer = _Writer(file, schema)
        yield writer
        writer.flush()
    partial.rename(path)
