"""spec.data: which rows to train and to evaluate on, and which column plays which part."""

from typing import Annotated

from pydantic import ConfigDict, Field

from finetune_api.base import Contract
from finetune_api.fields import ColumnName, Name, ShortText, Source, rule, rules


class TrainColumns(Contract):
    """Which columns of the training table play which part."""

    query: ColumnName = "query"
    """Column of the queries (anchors)."""
    positive: ColumnName = "positive"
    """Column of the documents that answer them: text or images."""
    negatives: Annotated[list[ColumnName], Field(max_length=32)] = Field(default_factory=list)
    """Columns of hard negatives, one document each."""


class EvaluationColumns(Contract):
    """Which columns of an evaluation table play which part; every positive and negative joins the corpus."""

    query: ColumnName = "query"
    """Column of the queries."""
    positive: ColumnName = "positive"
    """Column of the documents that answer them."""
    negatives: Annotated[list[ColumnName], Field(max_length=32)] = Field(default_factory=list)
    """Columns of documents that do not."""


class Table(Contract):
    """A table of ids and values inside an evaluation dataset."""

    subset: ShortText | None = None
    """Configuration of the dataset; its default one if absent."""
    split: ShortText
    """Split of that configuration."""
    id: ColumnName = "id"
    """Column of the ids."""
    value: ColumnName = "text"
    """Column of the texts or images."""


class RelevantDocuments(Contract):
    """The table that says which document answers which query."""

    subset: ShortText | None = None
    """Configuration of the dataset; its default one if absent."""
    split: ShortText
    """Split of that configuration."""
    query: ColumnName = "query_id"
    """Column of the query ids."""
    document: ColumnName = "corpus_id"
    """Column of the document ids."""


class RetrievalTables(Contract):
    """An information retrieval set in its usual three tables."""

    queries: Table
    """Ids and values of the queries."""
    corpus: Table
    """Ids and values of the documents."""
    relevant_documents: RelevantDocuments
    """Pairs of query id and document id."""


class TrainDataset(Contract):
    """One training set. Files may be parquet, JSON lines, CSV or an image folder."""

    name: Name
    """Name in status, metrics and the model card."""
    source: Source
    """hf://OWNER/NAME or pvc://CLAIM/PATH."""
    revision: ShortText = "main"
    """Branch, tag or commit; resolved to a commit by prepare."""
    subset: ShortText | None = None
    """Configuration of the dataset; its default one if absent."""
    split: ShortText = "train"
    """Split to train on."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Take the first so many rows only."""
    columns: TrainColumns = Field(default_factory=TrainColumns)
    """Which column plays which part."""


class EvaluationDataset(Contract):
    """One evaluation set of queries and documents, held out from training."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.columns) != has(self.tables)",
                "give either columns (rows of query and documents) "
                "or tables (queries, corpus, relevantDocuments), not both",
            )
        )
    )

    name: Name
    """Name in status, metrics and the model card."""
    source: Source
    """hf://OWNER/NAME or pvc://CLAIM/PATH."""
    revision: ShortText = "main"
    """Branch, tag or commit; resolved to a commit by prepare."""
    subset: ShortText | None = None
    """Configuration of the dataset (with columns); its default one if absent."""
    split: ShortText = "test"
    """Split to evaluate on (with columns)."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Take the first so many rows only (with columns)."""
    columns: EvaluationColumns | None = None
    """Which column plays which part, for rows of query and documents."""
    tables: RetrievalTables | None = None
    """Queries, corpus and relevant documents as three tables."""


class Data(Contract):
    """What to train and to evaluate on."""

    train: Annotated[list[TrainDataset], Field(min_length=1, max_length=1)]
    """The training set."""
    evaluation: Annotated[list[EvaluationDataset], Field(max_length=1)] = Field(default_factory=list)
    """The evaluation set. Without one nothing is measured and publish has no gate."""
    max_bad_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of rows with unreadable images or empty texts that is skipped with a warning; above it the job fails."""
