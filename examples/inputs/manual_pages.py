"""Sentences and pages of Debian's manuals: real pages of PDF files for finetuning the search for images by text.

Every page is in training, because the task is to find the pages of a library that is there; the sentences to
evaluate with are new.
"""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, Features, Image, Value

from .manuals import unpack_manuals
from .page_drawing import encode_png
from .pdf_pages import PdfPage, keep_unmistakable, read_pages

FILES = (
    "debian-reference/debian-reference.en.pdf",
    "developers-reference/developers-reference.pdf",
    "doc/debian-policy/policy.pdf.gz",
    "doc/maint-guide/maint-guide.en.pdf",
)
NUM_PAGES = 128
NUM_TRAIN, NUM_HELD_OUT = 6, 2
"""Sentences of each page."""

FEATURES = Features({"query": Value("string"), "image": Image()})

DATASET_CARD = """\
---
license: gpl-2.0
language:
- en
task_categories:
- visual-document-retrieval
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
  - split: test
    path: data/test-*.parquet
---

# Pages of Debian's manuals

Sentences (`query`) and pictures of the pages on which they stand (`image`, PNG, too small to read), from the PDF files
of the packages debian-reference-en, developers-reference, debian-policy and maint-guide: {pages} pages, each with
{train} sentences in `train` and {held_out} other ones in `test`. No sentence stands on two pages.

The manuals are free documents under the GNU General Public License (version 2 or later); see the packages' own
copyright files.
"""


class Row(NamedTuple):
    """A sentence and the page on which it stands."""

    query: str
    page: PdfPage


class Split(NamedTuple):
    """Rows to train on, and rows with the same pages but other sentences to evaluate on."""

    train: list[Row]
    held_out: list[Row]


def build(folder: Path) -> None:
    """Write the dataset repository; the packages are kept unpacked in the cache.

    Raises:
        RuntimeError: the packages cannot be had.

    """
    share = unpack_manuals()
    rows = split_sentences(keep_unmistakable(page for file in FILES for page in read_pages(share / file)))
    (folder / "data").mkdir(parents=True)
    for name, part in {"train": rows.train, "test": rows.held_out}.items():
        table = Dataset.from_list(list(encode_rows(part)), features=FEATURES)
        table.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    card = DATASET_CARD.format(pages=NUM_PAGES, train=NUM_TRAIN, held_out=NUM_HELD_OUT)
    (folder / "README.md").write_text(card)


def split_sentences(pages: Sequence[PdfPage], *, num_pages: int = NUM_PAGES, seed: int = 0) -> Split:
    """Return rows of `num_pages` pages that have sentences enough; `seed` decides which, and which are held out."""
    rng = random.Random(seed)
    enough = [page for page in pages if len(page.sentences) >= NUM_TRAIN + NUM_HELD_OUT]
    split = Split([], [])
    for page in rng.sample(enough, num_pages):
        rows = [Row(sentence, page) for sentence in rng.sample(page.sentences, NUM_TRAIN + NUM_HELD_OUT)]
        split.train.extend(rows[:NUM_TRAIN])
        split.held_out.extend(rows[NUM_TRAIN:])
    return split


def encode_rows(rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    """Return one row {query, image: {bytes, path}} per sentence."""
    for row in rows:
        yield {"query": row.query, "image": {"bytes": encode_png(row.page.image), "path": f"{row.page.name}.png"}}
