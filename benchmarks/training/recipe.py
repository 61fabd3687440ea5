"""One training job, stated once and run by both sides: what the published recipe trains, at some scale."""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Table(BaseModel):
    """One split of the dataset folder."""

    model_config = ConfigDict(frozen=True)

    subset: str | None = None
    split: str
    negatives: tuple[str, ...]
    """Columns of hard negatives that are used."""


class Recipe(BaseModel, ABC):
    """What both sides train: a query, the page that answers it, pages that do not."""

    model_config = ConfigDict(frozen=True)
    script: ClassVar[str]
    """Module of the plain script that trains this recipe."""
    kind: ClassVar[str] = "Embedding"
    """Of the model, as a manifest says it."""

    model: Path
    dataset: Path
    train: Table
    evaluation: Table
    rows: int
    """Training rows: the first so many of the split."""
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

    @abstractmethod
    def train_columns(self) -> dict[str, Any]:
        """Return which column of the training rows plays which part, as a manifest says it."""

    @abstractmethod
    def loss(self) -> dict[str, Any]:
        """Return the loss, as a manifest says it."""

    def evaluation_columns(self) -> dict[str, Any]:
        """Return which column of the held-out rows plays which part, as a manifest says it."""
        return {"query": self.query, "positive": self.positive, "negatives": list(self.evaluation.negatives)}

    @property
    def total_steps(self) -> int:
        """Return the steps of one epoch, last incomplete batch left out."""
        return self.rows // self.batch_size

    @property
    def save_every(self) -> int:
        """Return the steps between two checkpoints: a tenth of all, as save_steps=0.1 means it."""
        return math.ceil(self.total_steps / 10)
