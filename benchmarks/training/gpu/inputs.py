"""Inputs that need no network: a Qwen3-VL with random weights, made on the device, and drawn pages."""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoModel, Qwen3VLConfig

from benchmarks.training.embedders import (
    PUBLISHED_DIMENSIONS,
    PUBLISHED_NEGATIVES,
    PUBLISHED_PIXELS,
    EmbedderRecipe,
    gpu_recipe,
)
from benchmarks.training.page_pairs import CARD
from benchmarks.training.pages import Sheet, place_on_sheets, write_table
from examples.inputs.pages import build_questions, split_pages
from examples.inputs.tiny_qwen3_vl import EMBEDDING_DIMENSION, build_tiny_qwen3_vl


class Size(BaseModel):
    """How large model and data are."""

    model_config = ConfigDict(frozen=True)

    text: dict[str, Any] = {}
    """What the language model has other than the tiny Qwen3-VL."""
    vision: dict[str, Any] = {}
    """The same of the vision tower."""
    pixels: dict[str, Any] = PUBLISHED_PIXELS
    """What the processor makes of pages."""
    dimensions: tuple[int, ...] = PUBLISHED_DIMENSIONS
    batch_size: int = 64
    num_steps: int = 20
    held_out: int = 300
    """Rows with a page and four others each: 1,500 pages in all, as the published dataset has."""
    accelerator: bool = True


#: As the configuration of Qwen3-VL-Embedding-2B has it.
QWEN_2B = Size(
    text={
        "vocab_size": 151_936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262_144,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5_000_000.0,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    },
    vision={
        "depth": 24,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_heads": 16,
        "out_hidden_size": 2048,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [5, 11, 17],
    },
)
TOY = Size(
    pixels={"size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 96}},
    dimensions=(64, 32),
    batch_size=4,
    num_steps=6,
    held_out=3,
    accelerator=False,
)


def build_inputs(folder: Path, size: Size) -> EmbedderRecipe:
    """Write model and dataset below `folder`; return the published recipe for them."""
    build_model(folder / "model", size, device="cuda" if size.accelerator else "cpu")
    rows = size.batch_size * size.num_steps
    build_pages(folder / "dataset", rows=rows, held_out=size.held_out)
    recipe = gpu_recipe(folder / "model", folder / "dataset", rows=rows)
    sizes = {"processor_kwargs": size.pixels, "dimensions": size.dimensions, "batch_size": size.batch_size}
    return recipe.model_copy(update=sizes | {"accelerator": size.accelerator})


def build_model(folder: Path, size: Size, *, device: str) -> None:
    """Write an embedding model in bfloat16. Its tokenizer has few words, its table of embeddings has rows for all."""
    questions = [question for page in split_pages().train for question in build_questions(page)]
    with tempfile.TemporaryDirectory() as tiny:
        build_tiny_qwen3_vl(Path(tiny), sentences=questions)
        model = SentenceTransformer(tiny, device=device)
    config = resize(model[0].model.config, size)
    with torch.device(device):
        model[0].model = AutoModel.from_config(config, dtype=torch.bfloat16)
    width = size.text.get("hidden_size", EMBEDDING_DIMENSION)
    model[1] = Pooling(width, "lasttoken")
    model.save_pretrained(str(folder), create_model_card=False)


def resize(tiny: Qwen3VLConfig, size: Size) -> Qwen3VLConfig:
    """Return the configuration of the tiny model in another size."""
    config = tiny.to_dict()
    text, vision = config["text_config"] | size.text, config["vision_config"] | size.vision
    return Qwen3VLConfig(**config | {"text_config": text, "vision_config": vision})


def build_pages(folder: Path, *, rows: int, held_out: int) -> None:
    """Write the subsets `train` and `eval`; every cell has a page of its own."""
    pages, rng = split_pages(repeats=1), random.Random(0)
    for number, (split, count, shown, negatives) in enumerate(
        (("train", rows, pages.train, PUBLISHED_NEGATIVES[:1]), ("test", held_out, pages.held_out, PUBLISHED_NEGATIVES))
    ):
        asked_for = rng.choices(shown, k=count)
        columns: dict[str, Sequence[str | Sheet]] = {
            "query": [rng.choice(build_questions(page)) for page in asked_for],
            "image": place_on_sheets(asked_for, seed=10 * number),
        }
        for seed, name in enumerate(negatives, start=10 * number + 1):
            columns[name] = place_on_sheets(rng.choices(shown, k=count), seed=seed)
        write_table(folder, split, columns)
    (folder / "README.md").write_text(CARD)
