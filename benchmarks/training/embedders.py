"""The recipe for embedding models: queries, pages that answer them, pages that do not; seven sizes of embeddings."""

from pathlib import Path
from typing import Any, ClassVar

from benchmarks.training.recipe import Recipe, Table


class EmbedderRecipe(Recipe):
    """Visual document retrieval."""

    script: ClassVar[str] = "benchmarks.training.reference.embedder"

    dimensions: tuple[int, ...]

    def train_columns(self) -> dict[str, Any]:
        """Return which column of the training rows plays which part."""
        return {"query": self.query, "positive": self.positive, "negatives": list(self.train.negatives)}

    def loss(self) -> dict[str, Any]:
        """Return the loss, of every size of the embeddings."""
        return {"name": "CachedMultipleNegativesRankingLoss", "matryoshkaDimensions": list(self.dimensions)}


#: What the recipe of the Sentence Transformers documentation says, for the model and the dataset it names.
PUBLISHED_DIMENSIONS = (2048, 1536, 1024, 512, 256, 128, 64)
PUBLISHED_NEGATIVES = ("negative_0", "negative_1", "negative_2", "negative_3")
PUBLISHED_PIXELS = {"size": {"shortest_edge": 28 * 28, "longest_edge": 600 * 600}}


def gpu_recipe(model: Path, dataset: Path, *, rows: int) -> EmbedderRecipe:
    """Return the published recipe on a local copy of its model and its dataset."""
    return EmbedderRecipe(
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


def small_recipe(model: Path, dataset: Path, *, rows: int) -> EmbedderRecipe:
    """Return the recipe for a tiny model on a CPU: same shape, smaller numbers."""
    return EmbedderRecipe(
        model=model,
        dataset=dataset,
        train=Table(split="train", negatives=("negative_0",)),
        evaluation=Table(split="test", negatives=("negative_0",)),
        rows=rows,
        dimensions=(64, 48, 32, 24, 16, 12, 8),
        batch_size=32,
        learning_rate=1e-4,
        goals={1: 4.0, 2: 4.0},
        expert_goals={1: 2.5, 2: 3.0},
    )


def text_recipe(model: Path, dataset: Path, *, rows: int) -> EmbedderRecipe:
    """Return the recipe for a text model on a CPU, which is to be no slower than the script."""
    sizes: dict[str, Any] = {"dimensions": (384, 256, 192, 128, 96, 64, 32), "learning_rate": 2e-5}
    goals: dict[str, Any] = {"goals": {}, "expert_goals": {}}
    columns = {"query": "heading", "positive": "section"}
    return small_recipe(model, dataset, rows=rows).model_copy(update=sizes | columns | goals)
