"""Headings and sections of Debian's manuals: real text for finetuning text retrieval.

Layout of the dataset repository: `pairs` to train on, and `queries`, `corpus` and `relevant` to evaluate on. A quarter
of the headings is held out; the corpus holds all sections, those of the training headings too. The split `test` of
`pairs` has the held-out headings and sections as rows, for evaluations that are over sooner.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset

from .cache import cache_folder
from .debian_packages import unpack_packages
from .sections import Section, choose_sections, parse_sections

Row = dict[str, str]

PACKAGES = ("debian-reference-en", "developers-reference", "debian-policy", "maint-guide", "debian-handbook")
PAGES = (
    "debian-reference/*.en.html",
    "developers-reference/*.html",
    "doc/debian-policy/policy.html/*.html",
    "doc/debian-policy/*.html",
    "doc/maint-guide/html/*.en.html",
    "doc/debian-handbook/html/en-US/*.html",
)
# Lists of links, and second copies of what is in other files.
LEFT_OUT = frozenset(
    {
        "README.html",
        "developers-reference.html",
        "genindex.html",
        "index.html",
        "search.html",
    }
)

HELD_OUT_SHARE = 0.25

DATASET_CARD = """\
---
license: gpl-2.0
language:
- en
task_categories:
- sentence-similarity
- text-retrieval
configs:
- config_name: pairs
  default: true
  data_files:
  - split: train
    path: pairs/train-*.parquet
  - split: test
    path: pairs/test-*.parquet
- config_name: queries
  data_files:
  - split: test
    path: queries/test-*.parquet
- config_name: corpus
  data_files:
  - split: test
    path: corpus/test-*.parquet
- config_name: relevant
  data_files:
  - split: test
    path: relevant/test-*.parquet
---

# Debian's manuals

Headings of Debian's manuals and the sections below them, from the packages {packages}.

- `pairs`, split `train`: {train} rows of `heading` and `section` to train on
- `pairs`, split `test`: {test} rows that are held out
- `queries`, `corpus` and `relevant`, split `test`: the held-out headings, all {corpus} sections, and which section
  belongs to which heading

The manuals are free documents under the GNU General Public License (version 2 or later); see the packages' own
copyright files.
"""


def build(folder: Path) -> None:
    """Write the dataset repository; the packages are kept unpacked in the cache.

    Raises:
        RuntimeError: the packages cannot be had.

    """
    tables = build_tables(read_manuals(unpack_manuals()))
    for (subset, split), rows in tables.items():
        (folder / subset).mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows).to_parquet(folder / subset / f"{split}-00000-of-00001.parquet")
    sizes = {name: len(tables["pairs", name]) for name in ("train", "test")}
    sizes["corpus"] = len(tables["corpus", "test"])
    (folder / "README.md").write_text(DATASET_CARD.format(packages=", ".join(PACKAGES), **sizes))


def unpack_manuals() -> Path:
    """Return the `/usr/share` of the packages, which are downloaded once.

    Raises:
        RuntimeError: the packages cannot be had.

    """
    root = cache_folder() / "debian-manuals"
    unpack_packages(PACKAGES, folder=root)
    return root / "usr" / "share"


def read_manuals(share: Path) -> list[Section]:
    """Return the sections of all manuals below `share` (a `/usr/share`), in an order that depends on names only."""
    paths = [path for pattern in PAGES for path in sorted(share.glob(pattern))]
    files = [path for path in paths if path.is_file() and path.name not in LEFT_OUT]
    return choose_sections(
        section for file in files for section in parse_sections(file.read_text("utf-8", errors="replace"))
    )


def build_tables(sections: Sequence[Section], *, seed: int = 0) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of each subset and split; `seed` decides which headings are held out."""
    numbers = list(range(len(sections)))
    random.Random(seed).shuffle(numbers)
    num_held_out = int(len(sections) * HELD_OUT_SHARE)
    held_out, training = sorted(numbers[:num_held_out]), sorted(numbers[num_held_out:])
    return {
        ("pairs", "train"): [{"heading": sections[n].heading, "section": sections[n].text} for n in training],
        ("pairs", "test"): [{"heading": sections[n].heading, "section": sections[n].text} for n in held_out],
        ("queries", "test"): [{"id": f"q{n}", "text": sections[n].heading} for n in held_out],
        ("corpus", "test"): [{"id": f"d{n}", "text": section.text} for n, section in enumerate(sections)],
        ("relevant", "test"): [{"query_id": f"q{n}", "corpus_id": f"d{n}"} for n in held_out],
    }
