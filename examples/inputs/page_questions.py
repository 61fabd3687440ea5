"""Questions about drawn pages and descriptions in other words that answer them: a second set, of texts alone.

It is divided as the pages are: what is held out there is held out here.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from .page_drawing import Page
from .pages import build_questions, split_pages

Row = dict[str, str]

DESCRIPTION = "sheet of a report: {kind}, {color}, placed {place}; above it a band in {header}"

DATASET_CARD = """\
---
license: apache-2.0
task_categories:
- text-retrieval
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
  - split: eval
    path: data/eval-*.parquet
---

# Questions about pages of a report

{num_train} rows for training and {num_eval} for evaluation: a `question` and the `passage` that describes the page that
it is about. The pages are those of the dataset `pages`, each once, and those of the evaluation rows are the same.
"""


def build(folder: Path, *, seed: int = 0) -> None:
    """Write the dataset repository: two Parquet files and a card that `load_dataset(folder)` understands."""
    pages = split_pages()
    rows = {
        "train": build_rows(list(dict.fromkeys(pages.train)), seed=seed),
        "eval": build_rows(pages.held_out, seed=seed + 1),
    }
    (folder / "data").mkdir(parents=True)
    for name, split in rows.items():
        Dataset.from_list(split).to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    (folder / "README.md").write_text(DATASET_CARD.format(num_train=len(rows["train"]), num_eval=len(rows["eval"])))


def build_rows(pages: Sequence[Page], *, seed: int) -> list[Row]:
    """Return one row {question, passage} per page; equal arguments give equal rows."""
    rng = random.Random(seed)
    return [
        {"question": rng.choice(build_questions(page)), "passage": DESCRIPTION.format(**page._asdict())}
        for page in pages
    ]
