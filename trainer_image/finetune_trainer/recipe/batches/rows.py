"""The prepared training tables, and how their rows become model inputs in the moment they are needed."""

from collections.abc import Mapping
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset
from PIL.Image import Image
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from torch.utils.data import get_worker_info

from finetune_api.losses import Label
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.batches.shared_memory import share
from finetune_trainer.recipe.model.inputs import InputReader, ModelInput
from finetune_trainer.recipe.model.pair_images import flatten, images_once, remember
from finetune_trainer.workspace.manifest import Column, PreparedTrain

#: Reserved by the library for the set that a row comes from, where there are several.
SET = "dataset_name"
LABEL = "label"
NOT_INPUTS = (SET, LABEL)


def read_rows(workspace: Workspace, prepared: PreparedTrain) -> Dataset:
    """Return the training table with the loss's columns in order, the label last; image cells stay paths."""
    names = [column.name for column in prepared.columns]
    if prepared.label is not Label.NONE:
        names.append(LABEL)
    return Dataset(pq.read_table(workspace.train_table(prepared.name), columns=names).select(names))


class RowReader:
    """Opens the cells of rows: of one set, or of several, whose rows say which they are of."""

    def __init__(self, reader: InputReader, sets: list[PreparedTrain]) -> None:
        self._reader = reader
        self._columns: dict[str, dict[str, Column]] = {
            one.name: {column.name: column for column in one.columns} for one in sets
        }
        self._sole = sets[0].name

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row with texts and images in place of its cells; labels stay as they are."""
        columns = self._columns[row.get(SET, self._sole)]
        return {name: self._open(cell, columns[name]) if name in columns else cell for name, cell in row.items()}

    def _open(self, cell: Any, column: Column) -> ModelInput | list[ModelInput]:  # noqa: ANN401 - text, or list of texts
        if column.many:
            return [self._reader.read(one, column.modality) for one in cell]
        return self._reader.read(cell, column.modality)


class RowCollator(SentenceTransformerDataCollator):  # type: ignore[misc]
    """The library's collator behind a reader: images are opened and prepared here, in the data loader's workers."""

    def __init__(self, *, rows: RowReader, **settings: Any) -> None:  # noqa: ANN401 - the library's
        super().__init__(**settings)
        self._rows = rows

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch that the loss takes for rows of cells."""
        batch: dict[str, Any] = super().__call__([self._rows.read(row) for row in features])
        share(batch)
        return batch


class PairCollator(CrossEncoderDataCollator):  # type: ignore[misc]
    """The same for rerankers. Their losses make pairs of the columns and preprocess those, in the training process.

    Images at least are prepared here: the losses find what was made of them.
    """

    def __init__(self, *, rows: RowReader, model: CrossEncoder, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(preprocess_fn=model.preprocess, **settings)
        self._rows = rows
        self._model = model

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch that the loss takes for rows of cells."""
        rows = [self._rows.read(row) for row in features]
        for image in flatten([list(row.values()) for row in rows]):
            if isinstance(image, Image):
                remember(image)
        if get_worker_info() is not None:  # in the training process this would only come earlier
            self._prepare_images(rows)
        batch: dict[str, Any] = super().__call__(rows)
        share(batch)
        return batch

    def _prepare_images(self, rows: list[dict[str, Any]]) -> None:
        """Preprocess each query with each of its documents, for what the images remember of it."""
        with images_once(self._model):
            for row in rows:
                query, *documents = (value for name, value in row.items() if name not in NOT_INPUTS)
                pairs = [(query, document) for document in flatten(documents)]
                if any(isinstance(one, Image) for one in flatten(pairs)):
                    self._model.preprocess(pairs)
