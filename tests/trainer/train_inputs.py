"""Prepared inputs for training tests: a tiny model and a few rows, as prepare would leave them."""

import io
import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from examples.inputs.page_drawing import draw_page, encode_png
from examples.inputs.pages import QUESTIONS, split_pages
from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl
from finetune_api.contract import JobIdentity, RunConfig, run_id
from finetune_api.losses import Label
from finetune_api.status import DatasetStatus, ModelStatus
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.images.store import ImageStore
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.manifest import Column, InputsManifest, Modality, PreparedEvaluation, PreparedTrain

COLUMNS = [Column(name="query", modality="text"), Column(name="positive", modality="image")]


def run_config(*, uid: str = "uid", **sections: Any) -> RunConfig:  # noqa: ANN401 - parts of a manifest
    """Return a config of small steps on two CPU processes of one node; `sections` replace parts of the spec."""
    spec: dict[str, Any] = {
        "model": {"source": "hf://demo/tiny"},
        "data": {"train": [{"name": "pages", "source": "hf://demo/pages"}]},
        "training": {
            "loss": {"matryoshkaDimensions": [64, 32, 16]},
            "perDeviceTrainBatchSize": 8,
            "learningRate": 1e-3,
            "maxSteps": 8,
        },
        "evaluation": {"every": 3},
        "resources": {"accelerator": {"perNode": 2}, "requests": {"cpu": "2"}},
        "checkpoint": {"everySteps": 2},
    } | sections
    return RunConfig(
        job=JobIdentity(namespace="default", name="pages", uid=uid),
        spec=FinetuneJobSpec.model_validate(spec),
        simulated_accelerator=True,
    )


def prepare_pages(root: Path, config: RunConfig, *, rows: int = 64, held_out: int = 12) -> Workspace:
    """Write a workspace of page images, the tiny Qwen3-VL and an evaluation set, as prepare does."""
    workspace = Workspace(root)
    pages = split_pages(num_held_out=held_out)
    rng = random.Random(0)
    questions = [rng.choice(QUESTIONS).format(**page._asdict()) for page in (*pages.held_out, *pages.train[:rows])]
    drawn = [encode_png(draw_page(page, rng=rng)) for page in (*pages.held_out, *pages.train[:rows])]
    images = keep_images(workspace, drawn)
    build_tiny_qwen3_vl(workspace.base_model, sentences=questions)
    write_train_table(workspace, {"query": questions[held_out:], "positive": images[held_out:]})
    write_evaluation(workspace, queries=questions[:held_out], documents=images[:held_out])
    write_manifest(workspace, config, rows=rows, documents=held_out, modality="image")
    return workspace


def belong_to(workspace: Workspace, config: RunConfig) -> None:
    """Make the inputs of a workspace those of a run."""
    inputs = InputsManifest.read(workspace.manifest)
    own = {"spec_hash": config.spec_hash, "run": run_id(config.spec_hash, {}), "uid": config.job.uid}
    inputs.model_copy(update=own).write(workspace.manifest)


def prepare_texts(root: Path, config: RunConfig, *, model: Path, rows: int = 12) -> Workspace:
    """Write a workspace of texts alone, without an evaluation set."""
    queries, texts = ([f"{kind} number {number}" for number in range(rows)] for kind in ("question", "answer"))
    return prepare_sets(root, config, model=model, sets=[text_set("pages", {"query": queries, "positive": texts})])


@dataclass(frozen=True)
class CellsOfSet:
    """One training set with its cells, the column `label` among them where it has one."""

    prepared: PreparedTrain
    cells: dict[str, list[Any]]


def text_set(
    name: str, cells: dict[str, list[Any]], *, label: Label = Label.NONE, images: Sequence[str] = ()
) -> CellsOfSet:
    """Return a set of texts; the columns in `images` hold paths of images, lists of cells make a column of many."""
    columns = [
        Column(name=column, modality="image" if column in images else "text", many=isinstance(values[0], list))
        for column, values in cells.items()
        if column != "label"
    ]
    rows = len(next(iter(cells.values())))
    return CellsOfSet(PreparedTrain(name=name, columns=columns, label=label, rows=rows), cells)


def prepare_sets(root: Path, config: RunConfig, *, model: Path | None, sets: Sequence[CellsOfSet]) -> Workspace:
    """Write a workspace of training sets, without an evaluation set; without `model` its models are there already."""
    workspace = Workspace(root)
    if model is not None:
        shutil.copytree(model, workspace.base_model)
    for one in sets:
        write_train_table(workspace, one.cells, name=one.prepared.name)
    manifest_of(
        config,
        train=[one.prepared for one in sets],
        datasets=[DatasetStatus(name=one.prepared.name, rows=one.prepared.rows) for one in sets],
    ).write(workspace.manifest)
    return workspace


def draw_pages(workspace: Workspace, *, count: int) -> tuple[list[str], list[str]]:
    """Store images of pages; return questions that they answer, and their names."""
    pages = split_pages(num_held_out=0).train[:count]
    rng = random.Random(0)
    questions = [rng.choice(QUESTIONS).format(**page._asdict()) for page in pages]
    return questions, keep_images(workspace, [encode_png(draw_page(page, rng=rng)) for page in pages])


def keep_images(workspace: Workspace, contents: Sequence[bytes]) -> list[str]:
    """Keep images as prepare does; return their names."""
    store = ImageStore(workspace.images, num_threads=1)
    names = store.keep_all(contents, root=workspace.root, cache=workspace.root)
    store.close()
    return [str(name) for name in names]


def open_kept(workspace: Workspace, name: str) -> Image.Image:
    """Return a kept image as Pillow opens it."""
    return Image.open(io.BytesIO(KeptImages(workspace.images).read(name)))


def as_files(workspace: Workspace) -> dict[str, Path]:
    """Return the kept images by name, each as a file of its own, as the plain library is given them."""
    folder, images = workspace.root / f"files-{os.getpid()}", KeptImages(workspace.images)
    folder.mkdir(exist_ok=True)
    files = {name: folder / f"{name}.png" for name in images.index["name"].to_pylist()}
    for name, path in files.items():
        path.write_bytes(images.read(name))
    return files


def write_train_table(workspace: Workspace, columns: dict[str, list[Any]], *, name: str = "pages") -> None:
    """Write the table of one training set."""
    workspace.train_table(name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), workspace.train_table(name))


def write_evaluation(workspace: Workspace, *, queries: list[str], documents: list[str]) -> None:
    """Write an evaluation set in which the document of each query has its number."""
    folder = workspace.evaluation_folder("held-out")
    folder.mkdir(parents=True, exist_ok=True)
    ids = [str(number) for number in range(len(queries))]
    pq.write_table(pa.table({"id": ids, "value": queries}), folder / "queries.parquet")
    pq.write_table(pa.table({"id": ids, "value": documents}), folder / "corpus.parquet")
    pq.write_table(pa.table({"query_id": ids, "corpus_id": ids}), folder / "relevant.parquet")


def manifest_of(config: RunConfig, **parts: Any) -> InputsManifest:  # noqa: ANN401 - fields of the manifest
    """Return what prepare says that it made for a config; it has made nothing but `parts`."""
    nothing: dict[str, Any] = {"sources": {}, "train": [], "evaluations": [], "datasets": [], "files": []}
    run, model = run_id(config.spec_hash, {}), ModelStatus(revision="0" * 40)
    fields = {"spec_hash": config.spec_hash, "run": run, "uid": config.job.uid, "model": model}
    return InputsManifest(**nothing | fields | parts)


def write_manifest(workspace: Workspace, config: RunConfig, *, rows: int, documents: int, modality: Modality) -> None:
    """Write the manifest of a set with as many queries as documents."""
    manifest_of(
        config,
        train=[
            PreparedTrain(
                name="pages",
                columns=[Column(name="query", modality="text"), Column(name="positive", modality=modality)],
                rows=rows,
            )
        ],
        evaluations=[
            PreparedEvaluation(
                name="held-out", query_modality="text", corpus_modality=modality, queries=documents, documents=documents
            )
        ]
        if documents
        else [],
        datasets=[DatasetStatus(name="pages", rows=rows)],
    ).write(workspace.manifest)
