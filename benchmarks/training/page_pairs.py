"""The rerankers' dataset: drawn A4 pages with a question and a label, and several pages to each held-out question.

For each training question there is the page that answers it, one that differs from that in a single attribute, and the
page of another question. Held-out questions, whose pages no training row shows, have pages of other ones besides.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.training.pages import Sheet, choose_negatives, place_on_sheets, write_table
from examples.inputs.page_drawing import Page
from examples.inputs.pages import build_questions, split_pages

PAIRS_PER_QUESTION = 3


#: The two tables have different columns, so they are subsets.
CARD = """\
---
configs:
- config_name: train
  data_files: train-*.parquet
- config_name: eval
  data_files: test-*.parquet
---
"""


class Pair(NamedTuple):
    """One training row."""

    query: str
    sheet: Sheet
    label: float


def build_pairs(folder: Path, *, rows: int, held_out: int, candidates: int) -> None:
    """Write the subsets `train` and `eval` so that `load_dataset(folder, subset)` reads them.

    No combination of attributes is in both.
    """
    split = split_pages(num_held_out=held_out, repeats=1)
    rng = random.Random(0)
    pages = [rng.choice(split.train) for _ in range(-(-rows // PAIRS_PER_QUESTION))]
    pairs = list(label_pairs(pages, rng=rng))
    rng.shuffle(pairs)
    queries, sheets, labels = zip(*pairs[:rows], strict=True)
    write_table(folder, "train", {"query": queries, "image": sheets, "label": labels})

    positives = place_on_sheets(split.held_out, seed=2)
    hard = list(choose_negatives(positives, rng=rng, shared_every=0))
    others = [rng.sample([other for other in positives if other != one], candidates - 2) for one in positives]
    columns: dict[str, Sequence[str | Sheet]] = {
        "query": [rng.choice(build_questions(page)) for page in split.held_out],
        "image": positives,
        "negative_0": hard,
        **{f"negative_{number + 1}": [of_row[number] for of_row in others] for number in range(candidates - 2)},
    }
    write_table(folder, "test", columns)
    (folder / "README.md").write_text(CARD)


def label_pairs(pages: Sequence[Page], *, rng: random.Random) -> Iterator[Pair]:
    """Yield the pairs of a question about each page."""
    positives = place_on_sheets(pages, seed=1)
    hard = choose_negatives(positives, rng=rng, shared_every=0)
    for positive, close in zip(positives, hard, strict=True):
        query = rng.choice(build_questions(positive.page))
        other = rng.choice([sheet for sheet in positives if sheet.page != positive.page])
        yield from (Pair(query, positive, 1.0), Pair(query, close, 0.0), Pair(query, other, 0.0))
