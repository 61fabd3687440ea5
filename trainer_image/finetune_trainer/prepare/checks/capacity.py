"""Whether what prepare has seen fits into what the manifest asks for. Imports torch."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.limits import spread
from finetune_trainer.prepare.layout.writing import WrittenInputs
from finetune_trainer.recipe.batches.sets import batch_size_of
from finetune_trainer.recipe.batches.shared_memory import tensors_in
from finetune_trainer.recipe.capacity.estimate import Batch, Job
from finetune_trainer.recipe.capacity.figures import InputFigures, text_figures
from finetune_trainer.recipe.model.figures import model_figures
from finetune_trainer.recipe.model.inputs import areas_of, open_image
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.manifest import Column, PreparedTrain


def job_of(
    config: RunConfig, written: WrittenInputs, model: SentenceTransformer | CrossEncoder, workspace: Workspace
) -> Job:
    """Return what is known of the job by the model without its weights and by the tables and images laid out."""
    train = written.train
    batches = [
        Batch(
            batch_size_of(one, config.spec, world_size=config.world_size),
            tuple(_figures(column, one, model, workspace) for column in one.columns),
        )
        for one in train
    ]
    return Job(
        config.spec,
        model_figures(model),
        batches,
        on_cpu=config.on_cpu,
        data_bytes=sum(_size_of(folder) for folder in workspace.inputs.iterdir() if not folder.name.startswith(".")),
        # Sets that take turns end with the smallest.
        batches_per_epoch=len(train)
        * min(max(1, one.rows // (batch.rows * config.world_size)) for one, batch in zip(train, batches, strict=True)),
        evaluated=sum(one.queries + one.documents for one in written.evaluations),
    )


def _size_of(folder: Path) -> float:
    """Return the bytes of a folder; of many files, which take a while to be asked, by the mean of some."""
    files = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    looked_at = spread(files)
    return len(files) / max(1, len(looked_at)) * sum(path.stat().st_size for path in looked_at)


def _figures(
    column: Column, prepared: PreparedTrain, model: SentenceTransformer | CrossEncoder, workspace: Workspace
) -> InputFigures:
    """Return the cells of a column: as many as its longest list, each as large as the largest."""
    cells = pq.read_table(workspace.train_table(prepared.name), columns=[column.name])[column.name]
    num = pc.max(pc.list_value_length(cells)).as_py() if column.many else 1
    one = text_figures(None)
    if column.modality == "image":
        values = (pc.list_flatten(cells) if column.many else cells).unique().to_pylist()
        one = _image_figures(spread(values), KeptImages(workspace.images), model, role=_role_of(column))
    return InputFigures(num * one.num_bytes, one.tokens, num * one.usual_bytes)


def _role_of(column: Column) -> str:
    """Return what a column's cells are in the search, by which a router tells its routes."""
    return "query" if column.name == "query" else "document"


def _image_figures(
    names: Sequence[str], images: KeptImages, model: SentenceTransformer | CrossEncoder, *, role: str
) -> InputFigures:
    areas = areas_of(names, images)
    largest = max(areas, key=areas.__getitem__)
    image = open_image(images.read(largest))
    is_pair = isinstance(model, CrossEncoder)
    features = model.preprocess([("", image)] if is_pair else [image], task=role)
    num_bytes = sum(tensor.nbytes for tensor in tensors_in(features))
    mean = sum(areas.values()) / len(areas)
    return InputFigures(num_bytes, usual_bytes=num_bytes * mean / areas[largest])
