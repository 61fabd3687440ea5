"""The inputs of the small scale: built anew for each run, in well under a minute."""

from pathlib import Path

from benchmarks.training.base_model import build_base_model
from benchmarks.training.pages import build_dataset
from benchmarks.training.recipe import Recipe, small_recipe


def build_small(folder: Path, *, rows: int, held_out: int) -> Recipe:
    """Write model and dataset below `folder`; return the recipe for them."""
    print(f"drawing pages of {rows} training rows and {held_out} held-out rows", flush=True)
    build_dataset(folder / "dataset", rows=rows, held_out=held_out)
    print("training the base model", flush=True)
    build_base_model(folder / "model", held_out=held_out)
    return small_recipe(folder / "model", folder / "dataset", rows=rows)
