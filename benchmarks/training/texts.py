"""The inputs of the text scale: all-MiniLM-L6-v2 and headings and sections of Debian's manuals, real both."""

from pathlib import Path

from datasets import Dataset, load_dataset

from benchmarks.training.embedders import EmbedderRecipe, text_recipe
from examples.inputs import manuals, minilm
from examples.inputs.cache import ensure_built


def build_texts(folder: Path, *, rows: int, held_out: int) -> EmbedderRecipe:
    """Write model and dataset below `folder`; return the recipe for them. Beside each row stands another section."""
    print("fetching manuals and model, if they are not there", flush=True)
    pairs = load_dataset(str(ensure_built("manuals", manuals.build)), "pairs", cache_dir=str(folder / "cache"))
    minilm.build(folder / "model")
    (folder / "dataset").mkdir()
    for name, number in {"train": rows, "test": held_out}.items():
        with_negatives(pairs[name], number).to_parquet(folder / "dataset" / f"{name}-00000-of-00001.parquet")
    return text_recipe(folder / "model", folder / "dataset", rows=rows)


def with_negatives(pairs: Dataset, number: int) -> Dataset:
    """Return `number` rows with a column `negative_0`: sections of rows that are not among them."""
    rows = pairs.shuffle(seed=0)
    negatives = list(rows.select(range(number, 2 * number))["section"])
    return rows.select(range(number)).add_column("negative_0", negatives)
