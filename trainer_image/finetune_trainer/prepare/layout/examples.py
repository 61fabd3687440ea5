"""Rows as they were given become rows as they are written. A list is never written where the loss expects a column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune_api.losses import Label, Layout
from finetune_trainer.prepare.rows.forms import Form
from finetune_trainer.prepare.rows.labels import LabelValue
from finetune_trainer.prepare.rows.requests import DOCUMENT, DOCUMENTS, LABEL, POSITIVE, QUERY, negative
from finetune_trainer.prepare.rows.rows import BadRow, Row
from finetune_trainer.recipe.themselves import Pair

Written = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """What one value of `positive`, or one row of another layout, says."""

    query: str | None
    documents: Sequence[str]
    """The positive, the document of a pair, or the list of documents."""
    negatives: Sequence[str] = field(default_factory=list)
    label: LabelValue | None = None

    def pairs(self) -> Iterator[Pair]:
        """Yield query and document by content; nothing for single documents."""
        if self.query is not None:
            yield from ((self.query, document) for document in self.documents)


def examples_of(row: Row, form: Form) -> list[Example] | BadRow:
    """Return what a row says, one example for each value of a list of positives, or why it says nothing."""
    query = row.one(QUERY) if QUERY in row.cells else None
    if form.given in (Layout.RETRIEVAL, Layout.SCORED):
        negatives = [value for part, cell in row.cells.items() if part.startswith("negative_") for value in cell]
        if not row.cells[POSITIVE]:
            return row.bad(f"{POSITIVE}: empty list")
        if form.given is Layout.SCORED and (because := _check_scores(row.label, form, num_negatives=len(negatives))):
            return row.bad(because)
        return [Example(query, [positive], negatives, row.label) for positive in row.cells[POSITIVE]]
    documents = row.cells[DOCUMENTS if form.given is Layout.LISTWISE else DOCUMENT]
    if not documents:
        return row.bad(f"{DOCUMENTS}: empty list")
    if because := _check_list(row.label, form, num_documents=len(documents)) or _check_class(row.label, form):
        return row.bad(because)
    return [Example(query, documents, label=row.label)]


def write_example(example: Example, form: Form) -> Iterator[Written]:
    """Yield the written rows of an example that has enough negatives."""
    query = {} if example.query is None else {QUERY: example.query}
    if form.written in (Layout.RETRIEVAL, Layout.SCORED):
        negatives = {negative(index): example.negatives[index] for index in range(form.num_negatives)}
        label = {} if form.label is Label.NONE else {LABEL: _cut(example.label, form)}
        yield {**query, POSITIVE: example.documents[0], **negatives, **label}
    elif form.given is not Layout.RETRIEVAL:
        document = example.documents if form.written is Layout.LISTWISE else example.documents[0]
        name = DOCUMENTS if form.written is Layout.LISTWISE else DOCUMENT
        yield {**query, name: document, **({} if form.label is Label.NONE else {LABEL: example.label})}
    elif form.written is Layout.LISTWISE:
        documents = [*example.documents, *example.negatives]
        yield {**query, DOCUMENTS: documents, LABEL: [1.0] + [0.0] * len(example.negatives)}
    else:
        yield {**query, DOCUMENT: example.documents[0], LABEL: 1}
        yield from ({**query, DOCUMENT: document, LABEL: 0} for document in example.negatives)


def _cut(label: LabelValue | None, form: Form) -> LabelValue | None:
    """Return the label without the numbers of negatives that are not written."""
    return label[: form.num_negatives + form.surplus] if isinstance(label, list) else label


def _check_scores(label: LabelValue | None, form: Form, *, num_negatives: int) -> str | None:
    """Return why a label does not go with so many negatives, None if it does."""
    if not isinstance(label, list):
        return None if num_negatives == 1 else f"{LABEL}: one number goes with one negative, not with {num_negatives}"
    wanted = num_negatives + form.surplus
    if len(label) == wanted:
        return None
    return f"{LABEL}: {len(label)} numbers for {num_negatives} negatives, where {wanted} are needed"


def _check_list(label: LabelValue | None, form: Form, *, num_documents: int) -> str | None:
    """Return why a list of labels has the wrong length, None if it has not or the label is no list."""
    if not isinstance(label, list):
        return None
    if form.label is Label.VECTOR:
        right = len(label) == form.vector_length
        return None if right else f"{LABEL}: {len(label)} numbers, where most rows have {form.vector_length}"
    return None if len(label) == num_documents else f"{LABEL}: {len(label)} numbers for {num_documents} documents"


def _check_class(label: LabelValue | None, form: Form) -> str | None:
    """Return why a class is none that the loss knows, None if it is one or the label is no class."""
    if form.num_classes is None or not isinstance(label, int) or label < form.num_classes:
        return None
    return f"{LABEL}: the loss has {form.num_classes} classes, counted from 0"
