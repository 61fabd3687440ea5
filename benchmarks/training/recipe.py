"""One training job, stated once and run by both sides: what the published recipe trains, at some scale."""

import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Table(BaseModel):
    """One split of the dataset folder."""

    model_config = ConfigDict(frozen=True)

    subset: str | None = None
    split: str
    negatives: tuple[str, ...]
    """Columns of hard negatives that are used."""


class Recipe(BaseModel):
    """Visual document retrieval: a query, the page that answers it, pages that do not."""

    model_config = ConfigDict(frozen=True)

    model: Path
    dataset: Path
    train: Table
    evaluation: Table
    rows: int
    """Training rows: the first so many of the split."""
    dimensions: tuple[int, ...]
    batch_size: int
    """Rows per step over all ranks."""
    learning_rate: float
    warmup_ratio: float = 0.1
    seed: int = 42
    dtype: str = "float32"
    accelerator: bool = False
    """Whether ranks train on GPUs."""
    processor_kwargs: dict[str, Any] = Field(default_factory=dict)
    goals: dict[int, float] = Field(default_factory=lambda: {1: 2.0, 2: 3.0})
    """How many times faster in total it is to be, preparing included, by number of processes; 1 for those not named."""
    query: str = "query"
    positive: str = "image"

    @property
    def total_steps(self) -> int:
        """Return the steps of one epoch, last incomplete batch left out."""
        return self.rows // self.batch_size

    @property
    def save_every(self) -> int:
        """Return the steps between two checkpoints: a tenth of all, as save_steps=0.1 means it."""
        return math.ceil(self.total_steps / 10)


#: What the recipe of the Sentence Transformers documentation says, for the model and the dataset it names.
PUBLISHED_DIMENSIONS = (2048, 1536, 1024, 512, 256, 128, 64)
PUBLISHED_NEGATIVES = ("negative_0", "negative_1", "negative_2", "negative_3")
PUBLISHED_PIXELS = {"size": {"shortest_edge": 28 * 28, "longest_edge": 600 * 600}}


def gpu_recipe(model: Path, dataset: Path, *, rows: int) -> Recipe:
    """Return the published recipe on a local copy of its model and its dataset."""
    return Recipe(
        model=model,
        dataset=dataset,
        train=Table(subset="train", split="train", negatives=PUBLISHED_NEGATIVES[:1]),
        evaluation=Table(subset="eval", split="train", negatives=PUBLISHED_NEGATIVES),
        rows=rows,
        dimensions=PUBLISHED_DIMENSIONS,
        batch_size=64,
        learning_rate=2e-5,
        dtype="bfloat16",
        accelerator=True,
        processor_kwargs=PUBLISHED_PIXELS,
    )


def small_recipe(model: Path, dataset: Path, *, rows: int) -> Recipe:
    """Return the recipe for a tiny model on a CPU: same shape, smaller numbers."""
    return Recipe(
        model=model,
        dataset=dataset,
        train=Table(split="train", negatives=("negative_0",)),
        evaluation=Table(split="test", negatives=("negative_0",)),
        rows=rows,
        dimensions=(64, 48, 32, 24, 16, 12, 8),
        batch_size=32,
        learning_rate=1e-4,
    )


def text_recipe(model: Path, dataset: Path, *, rows: int) -> Recipe:
    """Return the recipe for a text model on a CPU, which is to be no slower than the script."""
    sizes = {"dimensions": (384, 256, 192, 128, 96, 64, 32), "learning_rate": 2e-5, "goals": {}}
    columns = {"query": "heading", "positive": "section"}
    return small_recipe(model, dataset, rows=rows).model_copy(update=sizes | columns)
