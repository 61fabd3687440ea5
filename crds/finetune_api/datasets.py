"""spec.data: which rows to train and to evaluate on, and which column plays which part."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from finetune_api.base import Contract
from finetune_api.evaluators import Evaluator
from finetune_api.fields import ColumnName, Name, ShortText, Source, Split, rule, rules
from finetune_api.losses import Layout
from finetune_api.objective import Loss

MAX_DATASETS = 16
Host = Annotated[
    str,
    StringConstraints(max_length=253),
    Field(
        json_schema_extra=rules(
            rule(
                "self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$')",
                "write the host's name alone, for example images.example.com: no https://, port, path or *",
            )
        )
    ),
]


def _filled(given: Any, *, pair_needs_query: bool) -> Any:  # noqa: ANN401 - whatever the manifest holds
    """Return columns with the usual names where the form of the rows leaves no doubt."""
    if not isinstance(given, dict):
        return given
    filled = {name: value for name, value in given.items() if value is not None}
    if not filled.keys() & {"positive", "document", "documents"}:
        filled["positive"] = "positive"
    if "query" not in filled and not (pair_needs_query and "document" in filled):
        filled["query"] = "query"
    return filled


_ONE_FORM = rule(
    "(has(self.positive) ? 1 : 0) + (has(self.document) ? 1 : 0) + (has(self.documents) ? 1 : 0) <= 1",
    "give one of positive, document and documents: rows have one form",
)


class TrainColumns(Contract):
    """Which columns of the training table play which part. Values are texts or images; negatives may hold lists."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            _ONE_FORM,
            rule(
                "!has(self.documents) || has(self.label)",
                "documents need label: a column with a list of numbers, one per document",
                field=".label",
            ),
            rule(
                "!has(self.negatives) || size(self.negatives) == 0 || !(has(self.document) || has(self.documents))",
                "negatives go with query and positive, not with document or documents",
                field=".negatives",
            ),
        )
    )

    query: ColumnName | None = None
    """Column of the queries (anchors, first texts of a pair); `query` if absent, unless document is given."""
    positive: ColumnName | None = None
    """Column of the documents that answer them, `positive` if absent, unless document or documents is given. A list
    makes one row per value."""
    negatives: Annotated[list[ColumnName], Field(max_length=32)] = Field(default_factory=list)
    """Columns of hard negatives, one document each, or one column of lists. Of lists, as many values are taken as all
    rows have but a share of maxBadSampleRatio, which is left out."""
    document: ColumnName | None = None
    """Column of the second text of a labeled pair; without query, of single documents."""
    documents: ColumnName | None = None
    """Column of lists of documents, for listwise losses of rerankers."""
    label: ColumnName | None = None
    """Column of labels: a score, a class, a list of scores or a teacher's embedding, as the loss says."""
    images: Annotated[list[ColumnName], Field(max_length=64)] = Field(default_factory=list)
    """Which of the columns hold images by name: strings that are paths inside the dataset, or https addresses of hosts
    in data.allowImageUrls. Strings are texts otherwise; columns of bytes or images need not be named."""
    texts: Annotated[list[ColumnName], Field(max_length=64)] = Field(default_factory=list)
    """Which of the columns are texts as they are written, where that is in doubt: names of media, numbers."""

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the manifest holds
        return _filled(given, pair_needs_query=True)

    @property
    def layout(self) -> Layout:
        """Return the form of the rows."""
        if self.positive is not None:
            return Layout.RETRIEVAL if self.label is None else Layout.SCORED
        if self.documents is not None:
            return Layout.LISTWISE
        if self.query is not None:
            return Layout.LABELED_PAIR
        return Layout.DOCUMENT if self.label is None else Layout.LABELED_DOCUMENT


class EvaluationColumns(Contract):
    """Which columns of an evaluation table play which part."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            _ONE_FORM,
            rule(
                "!(has(self.document) || has(self.documents)) || has(self.label)",
                "document and documents need label: a column of numbers, or of lists of numbers",
                field=".label",
            ),
        )
    )

    query: ColumnName = "query"
    """Column of the queries, or of the first text of a pair."""
    positive: ColumnName | None = None
    """Column of the documents that answer them: one value, or a list; `positive` if absent, unless document or
    documents is given."""
    negatives: Annotated[list[ColumnName], Field(max_length=32)] = Field(default_factory=list)
    """Columns of documents that do not, one document each, or one column of lists."""
    document: ColumnName | None = None
    """Column of the second text of a labeled pair."""
    documents: ColumnName | None = None
    """Column of lists of candidates."""
    label: ColumnName | None = None
    """Column of labels: a number per pair, or a list with a number per candidate, where more than 0 is relevant."""
    images: Annotated[list[ColumnName], Field(max_length=64)] = Field(default_factory=list)
    """Which of the columns hold images by name: strings that are paths inside the dataset, or https addresses of hosts
    in data.allowImageUrls. Strings are texts otherwise; columns of bytes or images need not be named."""
    texts: Annotated[list[ColumnName], Field(max_length=64)] = Field(default_factory=list)
    """Which of the columns are texts as they are written, where that is in doubt: names of media, numbers."""

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the manifest holds
        return _filled(given, pair_needs_query=False)

    @property
    def given(self) -> set[str]:
        """Return the parts that columns are named for."""
        parts = ("query", "positive", "negatives", "document", "documents", "label")
        return {part for part in parts if getattr(self, part)}


class Table(Contract):
    """A table of ids and values inside an evaluation dataset."""

    subset: ShortText | None = None
    """Configuration of the dataset; its default one if absent."""
    split: Split
    """Split of that configuration, or a slice of it."""
    id: ColumnName = "id"
    """Column of the ids."""
    value: ColumnName = "text"
    """Column of the texts or images."""
    images: bool = False
    """Whether the values are images by name: strings that are paths inside the dataset, or https addresses of hosts in
    data.allowImageUrls. Strings are texts otherwise; columns of bytes or images need no word."""
    texts: bool = False
    """Whether the values are texts as they are written, where that is in doubt: names of media, numbers."""


class RelevantDocuments(Contract):
    """The table that says which document answers which query."""

    subset: ShortText | None = None
    """Configuration of the dataset; its default one if absent."""
    split: Split
    """Split of that configuration, or a slice of it."""
    query: ColumnName = "query_id"
    """Column of the query ids."""
    document: ColumnName = "corpus_id"
    """Column of the document ids."""
    score: ColumnName | None = None
    """Column of numbers; pairs with 0 or less are not relevant. Every pair is if absent."""


class RetrievalTables(Contract):
    """An information retrieval set in its usual three tables."""

    queries: Table
    """Ids and values of the queries."""
    corpus: Table
    """Ids and values of the documents."""
    relevant_documents: RelevantDocuments
    """Pairs of query id and document id."""


class MinedNegatives(Contract):
    """How prepare finds hard negatives: documents that a model finds close to a query without being its answer."""

    num_negatives: Annotated[int, Field(ge=1, le=32)] = 3
    """Negatives per row; rows for which fewer are found are left out."""
    source: Source | None = None
    """Embedding model that looks for them; the base model if absent."""
    revision: ShortText = "main"
    """Branch, tag or commit of that model."""
    range_min: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Skip so many of the closest documents."""
    range_max: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Look at no more than so many of the closest documents."""
    max_score: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Leave out documents closer than this."""
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Leave out documents less close than this."""
    absolute_margin: Annotated[float, Field(ge=0, le=2)] | None = None
    """A negative must be less close than the answer by this much."""
    relative_margin: Annotated[float, Field(ge=0, le=1)] | None = None
    """A negative must be less close than the answer by this share."""
    sampling_strategy: Literal["top", "random"] = "top"
    """Take the closest ones that are left, or any of them."""


#: Of an evaluation set that is held out of a training set: the name of the latter, and this.
HELD_OUT = "-held-out"
HOLD_OUT_PATTERN = r"^([1-9][0-9]?([.][0-9]{1,2})?|0[.](0[1-9]|[1-9][0-9]?))%$"
HoldOut = Annotated[
    int | Annotated[str, StringConstraints(max_length=8)],
    Field(
        # Not a rule: in a list of training sets the API server takes one that matches a text for too costly.
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "minimum": 1,
            "pattern": HOLD_OUT_PATTERN,
        }
    ),
]


class TrainDataset(Contract):
    """One training set. Files may be parquet, JSON lines, CSV or an image folder."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.holdOut) || size(self.name) <= {63 - len(HELD_OUT)}",
                f"with holdOut a name has at most {63 - len(HELD_OUT)} characters: {HELD_OUT} is added to it",
                field=".name",
            )
        )
    )

    name: Name
    """Name in status, metrics and the model card."""
    source: Source
    """hf://OWNER/NAME, pvc://CLAIM/PATH or s3://BUCKET/PATH (gs://, az://)."""
    revision: ShortText = "main"
    """Branch, tag or commit, resolved to a commit by prepare; of a bucket as model.revision."""
    subset: ShortText | None = None
    """Configuration of the dataset; its default one if absent."""
    split: Split = "train"
    """Split to train on, a slice of it, or a sum, written as in the datasets library: train, train[:95%], train[1000:],
    train+validation."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Take the first so many rows only."""
    hold_out: HoldOut | None = None
    """Take so many rows, or such a share as 5%, out of training and evaluate on them, as the set NAME-held-out. They
    are drawn by training.seed, and no text and no image of theirs stays in a row of any training set: rows that share
    one go together. Measured by what fits the columns and yields evaluation.metric."""
    columns: TrainColumns = Field(default_factory=lambda: TrainColumns.model_validate({}))
    """Which column plays which part."""
    loss: Loss | None = None
    """Objective of this set, instead of training.loss."""
    mine_negatives: MinedNegatives | None = None
    """Find hard negatives among the set's own documents; needs query and positive."""


class EvaluationDataset(Contract):
    """One evaluation set, held out from training."""

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
    evaluator: Evaluator | None = None
    """What is measured; InformationRetrieval for embedding models and Reranking for rerankers if absent."""
    source: Source
    """hf://OWNER/NAME, pvc://CLAIM/PATH or s3://BUCKET/PATH (gs://, az://)."""
    revision: ShortText = "main"
    """Branch, tag or commit, resolved to a commit by prepare; of a bucket as model.revision."""
    subset: ShortText | None = None
    """Configuration of the dataset (with columns); its default one if absent."""
    split: Split = "test"
    """Split to evaluate on (with columns), a slice of it as train[95%:], or a sum."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Take the first so many rows only (with columns)."""
    columns: EvaluationColumns | None = None
    """Which column plays which part, for rows of query and documents."""
    tables: RetrievalTables | None = None
    """Queries, corpus and relevant documents as three tables."""


class Data(Contract):
    """What to train and to evaluate on."""

    train: Annotated[list[TrainDataset], Field(min_length=1, max_length=MAX_DATASETS)]
    """The training sets."""
    sampling: Literal["Proportional", "RoundRobin"] = "Proportional"
    """With several training sets: batches by their sizes until all are used up, or in turn until one is."""
    evaluation: Annotated[list[EvaluationDataset], Field(max_length=MAX_DATASETS)] = Field(default_factory=list)
    """The evaluation sets, besides those that train[].holdOut makes. Without one nothing is measured, and what was
    trained is published whatever it is worth."""
    max_bad_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of rows with unreadable images or empty texts that is skipped with a warning; above it the job fails."""
    allow_image_urls: Annotated[list[Host], Field(max_length=64)] = Field(default_factory=list)
    """Hosts from which prepare may fetch images that rows name by https address, each of at most 20 MB within 30 s.
    None by default; redirects to other hosts and private addresses are refused. Where HTTPS_PROXY names a
    proxy, it is asked, and which addresses it reaches is its own affair."""
