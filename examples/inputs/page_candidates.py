"""Questions about drawn pages, each with pages among which the answer is: what a reranker is measured on.

It learns from the split `train` of the pages, none of which is here.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value

from .page_drawing import Page, draw_page, encode_png
from .pages import build_questions, split_pages

NUM_CANDIDATES = 16

FEATURES = Features({"query": Value("string"), "image": Image(), "negatives": List(Image())})

Row = dict[str, Any]

DATASET_CARD = """\
---
license: apache-2.0
task_categories:
- visual-document-retrieval
configs:
- config_name: default
  data_files:
  - split: eval
    path: data/eval-*.parquet
---

# Pages of a report, with candidates

{num_rows} rows: a question (`query`), the page that answers it (`image`, PNG) and {num_negatives} other pages of this
dataset (`negatives`). The pages are drawn, not scanned; they are combinations of header colour, figure colour, figure
kind and place that do not occur in the split `train` of the dataset `pages`.
"""


def build(folder: Path, *, seed: int = 1) -> None:
    """Write the dataset repository: a Parquet file and a card that `load_dataset(folder)` understands."""
    rows = Dataset.from_list(list(build_candidate_rows(split_pages().held_out, seed=seed)), features=FEATURES)
    (folder / "data").mkdir(parents=True)
    rows.to_parquet(folder / "data" / "eval-00000-of-00001.parquet")
    (folder / "README.md").write_text(DATASET_CARD.format(num_rows=len(rows), num_negatives=NUM_CANDIDATES - 1))


def build_candidate_rows(pages: Sequence[Page], *, seed: int) -> Iterator[Row]:
    """Yield one row {query, image, negatives} per page; negatives are other ones of `pages`, each drawn once."""
    rng = random.Random(seed)
    images = {page: {"bytes": encode_png(draw_page(page, rng=rng)), "path": None} for page in pages}
    for page in pages:
        others = rng.sample([other for other in pages if other != page], NUM_CANDIDATES - 1)
        yield {
            "query": rng.choice(build_questions(page)),
            "image": images[page],
            "negatives": [images[other] for other in others],
        }
