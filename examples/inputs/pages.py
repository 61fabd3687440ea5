"""The demo's dataset for visual document retrieval: questions about pages, and the pages as images.

A page is a combination of header colour, figure colour, figure kind and place. The combinations of `eval` do
not occur in `train`, so a model must have learnt what the words mean to find those pages.
"""

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, Features, Image, Value

from .page_drawing import FIGURE_COLORS, FIGURE_KINDS, HEADER_COLORS, PLACES, Page, draw_page, encode_png

NUM_HELD_OUT = 96
PAGES_PER_COMBINATION = 4

FEATURES = Features({"query": Value("string"), "image": Image()})

QUESTIONS = (
    "page with a {header} header and a {color} {kind} at the {place}",
    "{color} {kind} at the {place} of a page with a {header} header",
    "which page with a {header} header has a {color} {kind} at the {place}",
)

DATASET_CARD = """\
---
license: apache-2.0
task_categories:
- visual-document-retrieval
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
  - split: eval
    path: data/eval-*.parquet
---

# Pages of a report

{num_train} rows for training and {num_eval} for evaluation: a question (`query`) and the page that answers it
(`image`, PNG). The pages are drawn, not scanned. No combination of header colour, figure colour, figure kind and
place of the evaluation rows occurs in the training rows.
"""


class Split(NamedTuple):
    """Pages for training, several of each combination, and one page of each combination held out."""

    train: list[Page]
    held_out: list[Page]


def split_pages(*, seed: int = 0, num_held_out: int = NUM_HELD_OUT, repeats: int = PAGES_PER_COMBINATION) -> Split:
    """Return all combinations, shuffled by `seed` and divided so that no combination is in both parts."""
    rng = random.Random(seed)
    combinations = [Page(*values) for values in itertools.product(FIGURE_COLORS, FIGURE_KINDS, PLACES, HEADER_COLORS)]
    rng.shuffle(combinations)
    return Split(train=combinations[num_held_out:] * repeats, held_out=combinations[:num_held_out])


def build_questions(page: Page) -> list[str]:
    """Return every way to ask for a page."""
    return [question.format(**page._asdict()) for question in QUESTIONS]


def build_rows(pages: Sequence[Page], *, seed: int) -> list[dict[str, Any]]:
    """Return one row {query, image: {bytes, path}} per page; equal arguments give equal rows."""
    rng = random.Random(seed)
    return [
        {
            "query": rng.choice(build_questions(page)),
            "image": {"bytes": encode_png(draw_page(page, rng=rng)), "path": f"page-{number:04}.png"},
        }
        for number, page in enumerate(pages)
    ]


def build(folder: Path, *, seed: int = 0) -> None:
    """Write the dataset repository: two Parquet files and a card that `load_dataset(folder)` understands."""
    pages = split_pages(seed=seed)
    rows = {
        "train": build_rows(pages.train, seed=seed),
        "eval": build_rows(pages.held_out, seed=seed + 1),
    }
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, split in rows.items():
        Dataset.from_list(split, features=FEATURES).to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    card = DATASET_CARD.format(num_train=len(rows["train"]), num_eval=len(rows["eval"]))
    (folder / "README.md").write_text(card)
