"""Which tables, splits and columns the spec asks for, in one form for training and both forms of evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api.datasets import EvaluationDataset, RelevantDocuments, RetrievalTables, Table, TrainDataset

QUERY, POSITIVE, VALUE, ID, DOCUMENT = "query", "positive", "value", "id", "document"


@dataclass(frozen=True)
class TableRequest:
    """One split of one dataset, and the column that plays each part."""

    field: str
    """Path in the spec, for messages: `spec.data.train[0]`."""
    dataset: str
    folder: Path
    subset: str | None
    split: str
    columns: Mapping[str, str]
    """Part to column name: text or images."""
    keys: Mapping[str, str]
    """Part to column name: ids."""
    limit: int | None = None


def negative(index: int) -> str:
    """Return the part that the negative column number `index` plays."""
    return f"negative_{index}"


def request_train(dataset: TrainDataset, *, index: int, folder: Path) -> TableRequest:
    """Return the table of a training set."""
    return TableRequest(
        field=f"spec.data.train[{index}]",
        dataset=dataset.name,
        folder=folder,
        subset=dataset.subset,
        split=dataset.split,
        columns=_parts(dataset.columns.query, dataset.columns.positive, dataset.columns.negatives),
        keys={},
        limit=dataset.limit,
    )


def request_evaluation(dataset: EvaluationDataset, *, index: int, folder: Path) -> dict[str, TableRequest]:
    """Return the tables of an evaluation set: `rows`, or `queries`, `corpus` and `relevant`."""
    field = f"spec.data.evaluation[{index}]"
    if dataset.tables is not None:
        return _request_tables(dataset, dataset.tables, field=f"{field}.tables", folder=folder)
    if dataset.columns is None:
        raise AssertionError("the schema lets no evaluation set pass without columns or tables")
    rows = TableRequest(
        field=field,
        dataset=dataset.name,
        folder=folder,
        subset=dataset.subset,
        split=dataset.split,
        columns=_parts(dataset.columns.query, dataset.columns.positive, dataset.columns.negatives),
        keys={},
        limit=dataset.limit,
    )
    return {"rows": rows}


def _request_tables(
    dataset: EvaluationDataset, tables: RetrievalTables, *, field: str, folder: Path
) -> dict[str, TableRequest]:
    def request(
        name: str, table: Table | RelevantDocuments, columns: Mapping[str, str], keys: Mapping[str, str]
    ) -> TableRequest:
        return TableRequest(
            field=f"{field}.{name}",
            dataset=dataset.name,
            folder=folder,
            subset=table.subset,
            split=table.split,
            columns=columns,
            keys=keys,
        )

    queries, corpus, relevant = tables.queries, tables.corpus, tables.relevant_documents
    return {
        "queries": request("queries", queries, {VALUE: queries.value}, {ID: queries.id}),
        "corpus": request("corpus", corpus, {VALUE: corpus.value}, {ID: corpus.id}),
        "relevant": request("relevantDocuments", relevant, {}, {QUERY: relevant.query, DOCUMENT: relevant.document}),
    }


def _parts(query: str, positive: str, negatives: list[str]) -> dict[str, str]:
    return {QUERY: query, POSITIVE: positive} | {negative(i): column for i, column in enumerate(negatives)}
