"""The manifest of prepared inputs: what prepare leaves for train and publish, with hashes. Written last.

Tables are parquet. A text column holds the text. An image column holds names of images by which `images.py` finds them
in `inputs/images`; a column has one modality throughout.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from finetune_api.base import Contract
from finetune_api.evaluators import Evaluator
from finetune_api.losses import Label
from finetune_api.status import DatasetStatus, ModelStatus
from finetune_trainer.workspace.whole_file import write_whole

Modality = Literal["text", "image"]


class Column(Contract):
    """One column of a prepared table."""

    name: str
    """query, positive, negative_0, negative_1, ..., document, documents; value in tables of an evaluation set."""
    modality: Modality
    many: bool = False
    """Whether a cell is a list, as `documents` of listwise losses."""


class FileHash(Contract):
    """One file."""

    path: str
    """With forward slashes; of inputs relative to `inputs/`."""
    sha256: str
    size_bytes: int


class PreparedTrain(Contract):
    """One training table: `inputs/data/train/NAME.parquet`."""

    name: str
    columns: list[Column]
    """In the order that the loss expects: query, positive, negatives. The label is not among them."""
    label: Label = Label.NONE
    """What the column `label` holds, which comes last; there is none without a label."""
    rows: int
    distinct: dict[str, int] = Field(default_factory=dict)
    """Different texts or images in the columns of queries and answers, of a set without labels."""


class PreparedEvaluation(Contract):
    """One evaluation set in `inputs/data/evaluation/NAME/`.

    InformationRetrieval and Reranking: queries.parquet and corpus.parquet (id, value), relevant.parquet (query_id,
    corpus_id); Reranking also candidates.parquet (query_id, corpus_id), in the order of the rows. The corpus is
    deduplicated by content; every query has at least one relevant document.
    Triplet: rows.parquet (query, positive, negative).
    EmbeddingSimilarity and BinaryClassification: rows.parquet (query, document, label).
    """

    name: str
    evaluator: Evaluator = Evaluator.INFORMATION_RETRIEVAL
    query_modality: Modality
    corpus_modality: Modality
    queries: int
    """Rows, where there are no queries."""
    documents: int
    """Rows, where there is no corpus."""


class InputsManifest(Contract):
    """Everything under `inputs/`."""

    spec_hash: str
    run: str
    """The run's id."""
    uid: str
    """The job that they were prepared for. It keeps to these sources when they have to be fetched again."""
    sources: dict[str, str]
    """Commit, or content hash of a claim's folder, by the field that names the source."""
    model: ModelStatus
    train: list[PreparedTrain]
    evaluations: list[PreparedEvaluation]
    datasets: list[DatasetStatus]
    warnings: list[str] = Field(default_factory=list)
    files: list[FileHash]
    """Tables, model files and the index of images, which has a checksum of each."""

    @classmethod
    def read(cls, path: Path) -> "InputsManifest":
        """Return the manifest at `path`; raises FileNotFoundError before prepare has finished."""
        return cls.model_validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Write atomically: a manifest that is there is whole."""
        write_whole(path, self.model_dump_json(by_alias=True, indent=1))
