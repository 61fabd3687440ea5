"""Sentences of Debian's manuals and what follows them: stands in for the dataset of examples/quickstart.yaml.

It has the form of the real one (philschmid/finanical-rag-embedding-dataset, by its card 7,000 rows of `question` and
`context` in one split, 316 characters a row), and half of its rows: whoever learns which text follows which sentence
learns to find texts.
"""

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from datasets import Dataset

from .manuals import PACKAGES, Row, read_manuals, unpack_manuals

SENTENCE_WORDS = range(5, 41)
CONTEXT_CHARACTERS = 200
"""A context ends with the sentence that makes it as long."""
MAX_CONTEXT_CHARACTERS = 600

DATASET_CARD = """\
---
license: gpl-2.0
language:
- en
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
---

# Sentences of Debian's manuals

{rows} sentences (`question`) and what follows them (`context`), from the packages {packages}. On a Hub of tests it
stands in for a dataset of another name that has the same columns.

The manuals are free documents under the GNU General Public License (version 2 or later); see the packages' own
copyright files.
"""


def build(folder: Path) -> None:
    """Write the dataset repository; the packages are kept unpacked in the cache.

    Raises:
        RuntimeError: the packages cannot be had.

    """
    rows = build_rows(section.text for section in read_manuals(unpack_manuals()))
    (folder / "data").mkdir(parents=True)
    Dataset.from_list(rows).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    (folder / "README.md").write_text(DATASET_CARD.format(rows=len(rows), packages=", ".join(PACKAGES)))


def build_rows(texts: Iterable[str], *, seed: int = 0) -> list[Row]:
    """Return the rows of all texts, shuffled by `seed`, so that the first ones are of all manuals."""
    rows = [row for text in texts for row in _rows_of(text)]
    random.Random(seed).shuffle(rows)
    return rows


def _rows_of(text: str) -> Iterator[Row]:
    """Yield each sentence that has something behind it, with that; no sentence is in two rows."""
    sentences = iter([one for one in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text) if len(one.split()) in SENTENCE_WORDS])
    for question in sentences:
        context = ""
        for sentence in sentences:
            context = f"{context} {sentence}".strip()
            if len(context) >= CONTEXT_CHARACTERS:
                break
        if context:
            yield {"question": question, "context": context[:MAX_CONTEXT_CHARACTERS]}
