"""The recipe for rerankers: pairs of a query and a page, each with a label."""

from pathlib import Path
from typing import Any, ClassVar

from benchmarks.training.recipe import Recipe, Table

LEARNING_RATE = 1e-4
MAX_PIXELS = 96 * 128
"""Of a page as the model sees it, at most: an A4 page becomes one of 64 x 128. Those of the base model were larger."""
NUM_CANDIDATES = 5
"""Pages of a held-out row, one of which answers its query."""


class RerankerRecipe(Recipe):
    """Pages in the order in which they answer a query."""

    script: ClassVar[str] = "benchmarks.training.reference.reranker"
    kind: ClassVar[str] = "Reranker"

    label: str = "label"

    def train_columns(self) -> dict[str, Any]:
        """Return which column of the training rows plays which part."""
        return {"query": self.query, "document": self.positive, "label": self.label}

    def loss(self) -> dict[str, Any]:
        """Return the loss of a label for each pair."""
        return {"name": "BinaryCrossEntropyLoss"}


def reranker_recipe(model: Path, dataset: Path, *, rows: int) -> RerankerRecipe:
    """Return the recipe for a tiny model on a CPU."""
    negatives = tuple(f"negative_{number}" for number in range(NUM_CANDIDATES - 1))
    return RerankerRecipe(
        model=model,
        dataset=dataset,
        train=Table(subset="train", split="train", negatives=()),
        evaluation=Table(subset="eval", split="train", negatives=negatives),
        rows=rows,
        batch_size=32,
        learning_rate=LEARNING_RATE,
        processor_kwargs={"size": {"shortest_edge": 32 * 32, "longest_edge": MAX_PIXELS}},
    )
