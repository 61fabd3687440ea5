"""The form in which the rows of one training set are written: which columns, how many negatives, which label.

Decided once per set, from its columns, its loss and the lengths of its lists, before a text or an image is read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from finetune_api.datasets import TrainDataset
from finetune_api.losses import Label, Layout, LossRule
from finetune_api.reasons import Reason
from finetune_api.sense import expands
from finetune_trainer.prepare.rows.labels import type_of
from finetune_trainer.prepare.rows.requests import DOCUMENT, DOCUMENTS, LABEL, POSITIVE, QUERY, negative
from finetune_trainer.prepare.rows.tables import OpenTable, check_documents
from finetune_trainer.workspace.manifest import Column, Modality
from finetune_trainer.workspace.problems import InputProblem

_ROWS_AT_ONCE = 10_000
_WITH_NEGATIVES = (Layout.RETRIEVAL, Layout.SCORED)


@dataclass(frozen=True)
class Form:
    """How rows that were given in one layout are written, in another or the same."""

    given: Layout
    written: Layout
    label: Label
    labels_many: bool
    """Whether a given label is a list."""
    num_negatives: int = 0
    """Columns negative_0, negative_1, ... that are written."""
    most_negatives: int = 0
    """Negatives of the row that has most."""
    surplus: int = 1
    """How many more numbers than negatives a list of labels has: 1 with one per document, 0 with one per negative."""
    vector_length: int = 0
    """Numbers of a teacher's embedding."""
    num_classes: int | None = None
    """Classes that the loss knows; None if it only compares them."""

    @property
    def fewest_negatives(self) -> int:
        """Return how many negatives an example must have; a list of an answer alone would teach nothing."""
        makes_lists = self.given is Layout.RETRIEVAL and self.written is Layout.LISTWISE
        return max(1, self.num_negatives) if makes_lists else self.num_negatives


def check_content_for_loss(
    table: OpenTable, dataset: TrainDataset, rule: LossRule, *, loss: str
) -> Iterator[InputProblem]:
    """Yield what the loss cannot take of the content of the columns."""
    if expands(dataset, rule):
        yield from check_documents(table)
    if rule.text_only and "image" in table.modalities.values():
        message = f"{table.where} has columns of images, but {loss} takes texts only; choose another loss"
        yield InputProblem(Reason.UNSUPPORTED_MODALITY, message)


def plan_form(table: OpenTable, dataset: TrainDataset, rule: LossRule, *, max_short_ratio: float) -> Form:
    """Return the form of a set; of lists of negatives, the longest is taken that all but a share of the rows have."""
    given = dataset.columns.layout
    form = Form(
        given=given,
        written=rule.layouts[0] if expands(dataset, rule) else given,
        label=rule.label,
        labels_many=table.labels_many,
    )
    if dataset.mine_negatives is not None:
        num_negatives = dataset.mine_negatives.num_negatives
        return replace(form, num_negatives=num_negatives, most_negatives=num_negatives)
    if form.written in _WITH_NEGATIVES:
        counts = _count_negatives(table)
        # Some row without any does not make rows with none of all others.
        least = 1 if negative(0) in table.many else 0
        used = min(rule.negatives[1], max(least, reached(counts, max_short_ratio=max_short_ratio)))
        surplus = _surplus(table, counts) if form.labels_many and form.label is Label.MARGINS else 1
        return replace(form, num_negatives=used, most_negatives=max(counts), surplus=surplus)
    if form.label is Label.VECTOR:
        return replace(form, vector_length=Counter(_lengths(table, LABEL)).most_common(1)[0][0])
    return form


def columns_of(form: Form, table: OpenTable) -> list[Column]:
    """Return the written columns in the order of the loss, without the label."""
    modalities = table.modalities
    query = [Column(name=QUERY, modality=modalities[QUERY])] if QUERY in modalities else []
    if form.written in _WITH_NEGATIVES:
        names = [POSITIVE, *(negative(index) for index in range(form.num_negatives))]
        return query + [Column(name=name, modality=_modality(modalities, name)) for name in names]
    many = form.written is Layout.LISTWISE
    name = DOCUMENTS if many else DOCUMENT
    return [*query, Column(name=name, modality=_modality(modalities, name), many=many)]


def schema_of(form: Form, columns: Sequence[Column]) -> pa.Schema:
    """Return the types of the written columns; the label comes last."""
    fields = [(column.name, pa.list_(pa.string()) if column.many else pa.string()) for column in columns]
    if form.label is not Label.NONE:
        many = form.labels_many or form.written is Layout.LISTWISE
        fields.append((LABEL, type_of(form.label, many=many)))
    return pa.schema(fields)


def reached(counts: Sequence[int], *, max_short_ratio: float) -> int:
    """Return the largest number that all but the allowed share of `counts` reach."""
    return sorted(counts)[min(int(max_short_ratio * len(counts)), len(counts) - 1)]


def _count_negatives(table: OpenTable) -> list[int]:
    if negative(0) in table.many:
        return _lengths(table, negative(0))
    return [sum(part.startswith("negative_") for part in table.modalities)] * len(table.rows)


def _surplus(table: OpenTable, counts: Sequence[int]) -> int:
    """Return what most lists of labels are: margins, one per negative (0), or scores, one per document (1)."""
    found = Counter(length - count for length, count in zip(_lengths(table, LABEL), counts, strict=True))
    return 0 if found[0] > found[1] else 1


def _lengths(table: OpenTable, part: str) -> list[int]:
    """Return the length of each list of a column; a missing list has none. Reads no value."""
    column = table.request.names()[part]
    chunks: Any = table.rows.select_columns([column]).with_format("arrow").iter(batch_size=_ROWS_AT_ONCE)
    return [length or 0 for chunk in chunks for length in pc.list_value_length(chunk[column]).to_pylist()]


def _modality(modalities: Mapping[str, Modality], name: str) -> Modality:
    """Return the modality of a written column: its own, that of the list it came from, or that of the answers."""
    origins = (name, negative(0), POSITIVE) if name.startswith("negative_") else (name, POSITIVE)
    return next(modalities[origin] for origin in origins if origin in modalities)
