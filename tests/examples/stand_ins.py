"""Small things under the names of big ones: the models and datasets that the examples for GPUs ask a Hub for.

Models have the architecture, modalities and embedding size of the real ones, and next to no layers. Datasets have the
real subsets, splits and columns, and a few rows.
"""

import hashlib
import io
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from datasets import Dataset, Features, Image, Value
from huggingface_hub import HfApi
from PIL import Image as Picture
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import Qwen3VLModel

from examples.inputs import minilm
from examples.inputs.push import push_repository
from examples.inputs.tiny_qwen3_vl import (
    build_config,
    build_processor,
    build_tiny_qwen3_vl_checkpoint,
    build_tokenizer,
)
from examples.inputs.tiny_vit import build_tiny_vit
from finetune_api.types import FinetuneJobSpec, named_datasets, named_models

SENTENCES = ["a page about bananas", "a page about trains", "0 or 1"]
NUM_ROWS = 32

Subset = str
Split = str
Tables = Mapping[tuple[Subset, Split], tuple[str, ...]]


def build_embedding_model(folder: Path, *, dimension: int) -> None:
    """Write a Qwen3-VL that embeds into `dimension` numbers, as Sentence Transformers saves it."""
    tokenizer = build_tokenizer(SENTENCES)
    config = build_config(tokenizer)
    config.text_config.hidden_size = config.vision_config.out_hidden_size = dimension
    with tempfile.TemporaryDirectory() as checkpoint:
        Qwen3VLModel(config).to(torch.bfloat16).save_pretrained(checkpoint)
        build_processor(tokenizer).save_pretrained(checkpoint)
        modules = [Transformer(checkpoint), Pooling(dimension, "lasttoken"), Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


MODELS: Mapping[str, Callable[[Path], None]] = {
    "Qwen/Qwen3-VL-2B-Instruct": partial(build_tiny_qwen3_vl_checkpoint, sentences=SENTENCES),
    "Qwen/Qwen3-VL-Embedding-2B": partial(build_embedding_model, dimension=2048),
    "Qwen/Qwen3-VL-Embedding-8B": partial(build_embedding_model, dimension=4096),
    "google/vit-base-patch16-224-in21k": build_tiny_vit,
    "sentence-transformers/all-MiniLM-L6-v2": minilm.build,
}

_HARD_NEGATIVES = tuple(f"negative_{number}" for number in range(16))
_PAGES = ("query", "image", "negative")
_QUESTIONS = ("question", "passage")

DATASETS: Mapping[str, Tables] = {
    "acme/pages": {("default", "train"): _PAGES, ("default", "test"): _PAGES},
    "acme/questions": {
        ("default", "train"): _QUESTIONS,
        ("default", "test"): _QUESTIONS,
        ("queries", "test"): ("id", "text"),
        ("corpus", "test"): ("id", "text"),
        ("relevant", "test"): ("query_id", "corpus_id"),
    },
    "tomaarsen/llamaindex-vdr-en-train-preprocessed": {
        ("train", "train"): ("query", "image", *_HARD_NEGATIVES),
        ("eval", "train"): ("query", "image", *_HARD_NEGATIVES),
    },
}


def push_stand_ins(spec: FinetuneJobSpec, api: HfApi) -> None:
    """Put everything that the spec names on the Hub."""
    for model in {named.source for named in named_models(spec)}:
        _push(api, "model", model.removeprefix("hf://"), MODELS[model.removeprefix("hf://")])
    for dataset in {named.source for named in named_datasets(spec)}:
        tables = DATASETS[dataset.removeprefix("hf://")]
        _push(api, "dataset", dataset.removeprefix("hf://"), partial(build_dataset, tables=tables))


def _push(api: HfApi, kind: str, repository: str, build: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(temporary))
        push_repository(api, kind=kind, repository=repository, folder=Path(temporary))


def build_dataset(folder: Path, *, tables: Tables) -> None:
    """Write a dataset repository of `tables`: columns by subset and split."""
    configs: dict[str, list[dict[str, str]]] = {}
    for number, ((subset, split), columns) in enumerate(tables.items()):
        path = f"{subset}/{split}-00000-of-00001.parquet"
        features = Features({column: Image() if is_image(column) else Value("string") for column in columns})
        rows = [{column: _cell(column, f"{number}.{row}", row) for column in columns} for row in range(NUM_ROWS)]
        Dataset.from_list(rows, features=features).to_parquet(folder / path)
        configs.setdefault(subset, []).append({"split": split, "path": path})
    header = {"configs": [{"config_name": subset, "data_files": files} for subset, files in configs.items()]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(header)}---\n")


def is_image(column: str) -> bool:
    """Say whether a column holds images: the pages, and the negatives beside them."""
    return column.startswith(("image", "negative"))


def _cell(column: str, name: str, row: int) -> Any:  # noqa: ANN401 - text or an image
    if is_image(column):
        return {"bytes": _png(color_of(f"{column} {name}")), "path": None}
    return str(row) if column == "id" or column.endswith("_id") else f"{column} {name} about {row} bananas"


def color_of(text: str) -> tuple[int, int, int]:
    """Return a colour that is another one for another text."""
    digest = hashlib.sha256(text.encode()).digest()
    return digest[0], digest[1], digest[2]


def _png(color: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    page = Picture.new("RGB", (32, 32), color)
    page.putpixel((0, 0), (128, 128, 128))  # what is the same all over is no page
    page.save(buffer, format="PNG")
    return buffer.getvalue()
