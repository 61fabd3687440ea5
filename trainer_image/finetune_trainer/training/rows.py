"""The prepared training table, and how its rows become model inputs in the moment they are needed."""

from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

from finetune_api.workspace import Workspace
from finetune_trainer.data.manifest import Modality, PreparedTrain
from finetune_trainer.model.inputs import InputReader


def read_rows(workspace: Workspace, prepared: PreparedTrain) -> Dataset:
    """Return the training table with the loss's columns in order; image cells stay paths."""
    names = [column.name for column in prepared.columns]
    return Dataset(pq.read_table(workspace.train_table, columns=names).select(names))


class RowCollator(SentenceTransformerDataCollator):  # type: ignore[misc]
    """The library's collator behind a reader: images are opened here, in the data loader's workers."""

    def __init__(self, *, reader: InputReader, modalities: dict[str, Modality], **settings: Any) -> None:  # noqa: ANN401
        super().__init__(**settings)
        self._reader = reader
        self._modalities = modalities

    def __call__(self, features: list[dict[str, str]]) -> dict[str, Any]:
        """Return the batch that the loss takes for rows of cells."""
        batch: dict[str, Any] = super().__call__(
            [{name: self._reader.read(cell, self._modalities[name]) for name, cell in row.items()} for row in features]
        )
        return batch
