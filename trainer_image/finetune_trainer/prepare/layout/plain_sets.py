"""Puts an evaluation set of triplets or labeled pairs together: rows without queries and corpus of their own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from finetune_api.evaluators import Evaluator
from finetune_api.losses import Label
from finetune_trainer.prepare.layout.tally import Tally
from finetune_trainer.prepare.rows.labels import type_of
from finetune_trainer.prepare.rows.requests import DOCUMENT, LABEL, POSITIVE, QUERY
from finetune_trainer.prepare.rows.rows import BadRow, Row, read_rows
from finetune_trainer.prepare.rows.tables import OpenTable
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.recipe.themselves import Pair

NEGATIVE = "negative"

_TEXT = pa.string()
#: Columns of the written table by evaluator.
SCHEMAS = {
    Evaluator.TRIPLET: pa.schema([(QUERY, _TEXT), (POSITIVE, _TEXT), (NEGATIVE, _TEXT)]),
    Evaluator.EMBEDDING_SIMILARITY: pa.schema(
        [(QUERY, _TEXT), (DOCUMENT, _TEXT), (LABEL, type_of(Label.SCORE, many=False))]
    ),
    Evaluator.BINARY_CLASSIFICATION: pa.schema(
        [(QUERY, _TEXT), (DOCUMENT, _TEXT), (LABEL, type_of(Label.BINARY, many=False))]
    ),
}


@dataclass
class PlainSet:
    """The rows that are written, and what was noticed while they were read."""

    tally: Tally
    rows: list[dict[str, Any]] = field(default_factory=list)
    pairs: set[Pair] = field(default_factory=set)
    """Held-out pairs of query and document, by content; negatives do not count."""


def read_plain_set(table: OpenTable, evaluator: Evaluator, place: Workplace) -> PlainSet:
    """Return the rows of a set for Triplet, EmbeddingSimilarity or BinaryClassification."""
    written: Callable[[Row], Iterator[dict[str, Any]]] = _triplets if evaluator is Evaluator.TRIPLET else _pair
    found = PlainSet(Tally(table.where))
    for row in read_rows(table, place):
        rows = [] if isinstance(row, BadRow) else list(written(row))
        if isinstance(row, BadRow) or not rows:
            found.tally.skip(row if isinstance(row, BadRow) else row.bad("a list is empty"))
            continue
        found.tally.use(row)
        found.rows += rows
        found.pairs |= {(one[QUERY], one.get(POSITIVE) or one[DOCUMENT]) for one in rows}
    return found


def _triplets(row: Row) -> Iterator[dict[str, Any]]:
    """Yield each positive with each negative of the row."""
    for positive in row.cells[POSITIVE]:
        for part, cell in row.cells.items():
            if part.startswith("negative_"):
                for value in cell:
                    yield {QUERY: row.one(QUERY), POSITIVE: positive, NEGATIVE: value}


def _pair(row: Row) -> Iterator[dict[str, Any]]:
    yield {QUERY: row.one(QUERY), DOCUMENT: row.one(DOCUMENT), LABEL: row.label}
