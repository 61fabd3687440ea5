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


class Writing(BaseModel):
    """How the script is written, where people differ; by default as it is published."""

    model_config = ConfigDict(frozen=True)

    mini_batch_size: int = 1
    """Rows that the loss embeds at once."""
    evaluation_batch_size: int = 1
    """Queries and pages that the evaluator embeds at once."""
    evaluation_loss: bool = True
    """Whether the loss of the held-out rows is computed, too."""


#: The same script by somebody who knows what costs time.
EXPERT = Writing(mini_batch_size=16, evaluation_batch_size=16, evaluation_loss=False)


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
    expert_goals: dict[int, float] = Field(default_factory=dict)
    """The same against the expert's script, which is not run where there are none."""
    writing: Writing = Writing()
    """Of the script."""
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
