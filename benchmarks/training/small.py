"""The inputs of the small scales: built anew for each run, in about a minute."""

from pathlib import Path

from benchmarks.training.base_model import build_base_model
from benchmarks.training.base_reranker import build_base_reranker
from benchmarks.training.embedders import EmbedderRecipe, small_recipe
from benchmarks.training.page_pairs import build_pairs
from benchmarks.training.pages import build_dataset
from benchmarks.training.rerankers import NUM_CANDIDATES, RerankerRecipe, reranker_recipe


def build_small(folder: Path, *, rows: int, held_out: int) -> EmbedderRecipe:
    """Write an embedding model and its dataset below `folder`; return the recipe for them."""
    print(f"drawing pages of {rows} training rows and {held_out} held-out rows", flush=True)
    build_dataset(folder / "dataset", rows=rows, held_out=held_out)
    print("training the base model", flush=True)
    build_base_model(folder / "model", held_out=held_out)
    return small_recipe(folder / "model", folder / "dataset", rows=rows)


def build_small_reranker(folder: Path, *, rows: int, held_out: int) -> RerankerRecipe:
    """Write a reranker and its dataset below `folder`; return the recipe for them."""
    print(f"drawing pages of {rows} labeled pairs and {held_out} held-out questions", flush=True)
    build_pairs(folder / "dataset", rows=rows, held_out=held_out, candidates=NUM_CANDIDATES)
    print("training the base model", flush=True)
    build_base_reranker(folder / "model", held_out=held_out)
    return reranker_recipe(folder / "model", folder / "dataset", rows=rows)
