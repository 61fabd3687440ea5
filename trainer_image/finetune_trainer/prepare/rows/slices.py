"""The rows that a split, a slice of it or a sum of them names, counted as the datasets library does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import datasets

from finetune_api.splits import slices_of


@dataclass(frozen=True)
class Cut:
    """What is left of some splits."""

    rows: Any
    """`datasets.Dataset`."""
    numbers: Sequence[int]
    """Position of each row in its split, from 0."""


def cut(split: str, wholes: Mapping[str, Any]) -> Cut | None:
    """Return the rows that `split` names of whole splits, None if there are none.

    Raises:
        ValueError: the library refuses the slice, in its words.

    """
    sizes = {name: len(rows) for name, rows in wholes.items()}
    named = datasets.ReadInstruction.from_spec(split).to_absolute(sizes)
    ranges = [(wholes[one.splitname], range(one.from_, one.to)) for one in named if one.from_ < one.to]
    if not ranges:
        return None
    parts = [rows if len(numbers) == len(rows) else rows.select(numbers) for rows, numbers in ranges]
    if len(parts) == 1:
        return Cut(parts[0], ranges[0][1])
    numbers = list(chain.from_iterable(numbers for _, numbers in ranges))
    return Cut(datasets.concatenate_datasets(parts), numbers)


def beyond(split: str, wholes: Mapping[str, Any]) -> Iterator[str]:
    """Yield which slices count rows that their splits do not have."""
    for one in slices_of(split):
        if one.reaches_beyond(len(wholes[one.split])):
            yield f"{split!r} reaches beyond the {len(wholes[one.split])} rows of split {one.split}"
