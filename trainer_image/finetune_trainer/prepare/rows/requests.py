"""Which tables, splits and columns the spec asks for, in one form for training and every kind of evaluation."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from finetune_api.datasets import (
    EvaluationColumns,
    EvaluationDataset,
    RelevantDocuments,
    RetrievalTables,
    Table,
    TrainColumns,
    TrainDataset,
)
from finetune_api.evaluators import Evaluator
from finetune_api.losses import Label, Layout

QUERY, POSITIVE, DOCUMENT, DOCUMENTS, LABEL = "query", "positive", "document", "documents", "label"
VALUE, ID = "value", "id"

#: Label of an evaluation set by evaluator; scores and pairs with 0 or less are not relevant.
_LABELS = {
    Evaluator.RERANKING: Label.SCORES,
    Evaluator.EMBEDDING_SIMILARITY: Label.SCORE,
    Evaluator.BINARY_CLASSIFICATION: Label.BINARY,
}


@dataclass(frozen=True)
class LabelRequest:
    """The column of labels and what it must hold."""

    column: str
    label: Label


@dataclass(frozen=True)
class TableRequest:
    """One split of one dataset, and the column that plays each part."""

    field: str
    """Path in the spec, for messages: `spec.data.train[0]`."""
    dataset: str
    folder: Path
    subset: str | None
    split: str
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Part to column name: text or images."""
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Part to column name: ids."""
    label: LabelRequest | None = None
    lists: frozenset[str] = frozenset()
    """Parts whose column may hold lists; that of DOCUMENTS must."""
    images: frozenset[str] = frozenset()
    """Columns whose strings are paths or addresses of images."""
    texts: frozenset[str] = frozenset()
    """Columns whose names of media and numbers are texts as they are written."""
    limit: int | None = None

    def names(self) -> dict[str, str]:
        """Return part to column name, of all columns that are asked for."""
        label = {LABEL: self.label.column} if self.label else {}
        return {**self.columns, **self.keys, **label}

    def declaring(self, content: Literal["images", "texts"]) -> str:
        """Return how the spec says that a column holds such content: `add it to ...columns.images`."""
        table = VALUE in self.columns
        return f"set {self.field}.{content}: true" if table else f"add it to {self.field}.columns.{content}"


def negative(index: int) -> str:
    """Return the part that the negative column number `index` plays."""
    return f"negative_{index}"


def request_train(dataset: TrainDataset, *, index: int, folder: Path, label: Label) -> TableRequest:
    """Return the table of a training set, whose loss takes such labels."""
    columns = dataset.columns
    # A label belongs to one positive; without one each value of a list makes a row.
    single = columns.layout is Layout.SCORED
    return TableRequest(
        field=f"spec.data.train[{index}]",
        dataset=dataset.name,
        folder=folder,
        subset=dataset.subset,
        split=dataset.split,
        columns=_parts(columns),
        label=LabelRequest(columns.label, label) if columns.label else None,
        lists=_lists(columns) - ({POSITIVE} if single else set()),
        images=frozenset(columns.images),
        texts=frozenset(columns.texts),
        limit=dataset.limit,
    )


def request_evaluation(
    dataset: EvaluationDataset, *, field: str, folder: Path, evaluator: Evaluator
) -> dict[str, TableRequest]:
    """Return the tables of an evaluation set: `rows`, or `queries`, `corpus` and `relevant`."""
    if dataset.tables is not None:
        return _request_tables(dataset, dataset.tables, field=f"{field}.tables", folder=folder)
    if dataset.columns is None:
        raise AssertionError("the schema lets no evaluation set pass without columns or tables")
    columns = dataset.columns
    rows = TableRequest(
        field=field,
        dataset=dataset.name,
        folder=folder,
        subset=dataset.subset,
        split=dataset.split,
        columns=_parts(columns),
        label=LabelRequest(columns.label, _LABELS[evaluator]) if columns.label and evaluator in _LABELS else None,
        lists=_lists(columns),
        images=frozenset(columns.images),
        texts=frozenset(columns.texts),
        limit=dataset.limit,
    )
    return {"rows": rows}


def _request_tables(
    dataset: EvaluationDataset, tables: RetrievalTables, *, field: str, folder: Path
) -> dict[str, TableRequest]:
    def place(name: str, table: Table | RelevantDocuments) -> TableRequest:
        return TableRequest(
            field=f"{field}.{name}", dataset=dataset.name, folder=folder, subset=table.subset, split=table.split
        )

    def entries(name: str, table: Table) -> TableRequest:
        value = frozenset({table.value})
        images, texts = (value if said else frozenset[str]() for said in (table.images, table.texts))
        return replace(
            place(name, table), columns={VALUE: table.value}, keys={ID: table.id}, images=images, texts=texts
        )

    relevant = tables.relevant_documents
    return {
        "queries": entries("queries", tables.queries),
        "corpus": entries("corpus", tables.corpus),
        "relevant": replace(
            place("relevantDocuments", relevant),
            keys={QUERY: relevant.query, DOCUMENT: relevant.document},
            label=LabelRequest(relevant.score, Label.SCORE) if relevant.score else None,
        ),
    }


def _parts(columns: TrainColumns | EvaluationColumns) -> dict[str, str]:
    named = {
        QUERY: columns.query,
        POSITIVE: columns.positive,
        DOCUMENT: columns.document,
        DOCUMENTS: columns.documents,
    }
    found = {part: column for part, column in named.items() if column is not None}
    return found | {negative(i): column for i, column in enumerate(columns.negatives)}


def _lists(columns: TrainColumns | EvaluationColumns) -> frozenset[str]:
    """Return the parts that may hold lists; of several columns of negatives, each holds one document."""
    return frozenset({POSITIVE, DOCUMENTS} | ({negative(0)} if len(columns.negatives) == 1 else set()))
