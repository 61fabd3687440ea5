"""Which rows of a dataset are read: a split, a slice of one, or a sum of them, written as in the datasets library."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import starmap

from finetune_api.problem import Problem

_NAME = r"[^\[\]()+:\s]+"
_ROWS = "-?[0-9]{1,12}"
_PERCENT = "-?([0-9]{1,2}|100)%"
_PART = rf"{_NAME}(\[({_ROWS})?:({_ROWS})?\]|\[({_PERCENT})?:({_PERCENT})?\](\((closest|pct1_dropremainder)\))?)?"
SPLIT = rf"{_PART}( *\+ *{_PART})*"
SPLIT_FIX = (
    "write a split as train, a slice of it as train[:95%] or train[1000:], or a sum as train+validation; both bounds "
    "are rows or both are percent, up to 100%"
)
_BOUNDS = re.compile(rf"({_NAME})(?:\[(-?[0-9]*)(%?):(-?[0-9]*)(%?)\])?")


@dataclass(frozen=True)
class Slice:
    """A split and its bounds, as they were written; those below 0 count from the end."""

    split: str
    first: int | None
    last: int | None
    in_percent: bool

    @property
    def is_empty(self) -> bool:
        """Say whether no split, however long, has rows between the bounds."""
        first, last = self.first, self.last
        if self.in_percent:
            return _share(0 if first is None else first) >= _share(100 if last is None else last)
        if first is None or last is None:
            return last == 0
        return (first < 0) == (last < 0) and first >= last

    def reaches_beyond(self, rows: int) -> bool:
        """Say whether a bound counts more rows than the split has."""
        return not self.in_percent and any(abs(bound or 0) > rows for bound in (self.first, self.last))


def slices_of(split: str) -> list[Slice]:
    """Return the parts of a sum, which is one part as a rule."""
    found = (_BOUNDS.match(part.strip()) for part in split.split("+"))
    return list(starmap(_slice, (one.groups() for one in found if one is not None)))


def split_names(split: str) -> list[str]:
    """Return the names of the splits that are read, once each."""
    return list(dict.fromkeys(one.split for one in slices_of(split)))


def first_rows(split: str, *, limit: int | None) -> int | None:
    """Return within how many of the first rows of its one split all lie that are read; None where nobody knows.

    Where a slice has an end, that counts: whether there are so many rows is told.
    """
    one, *others = slices_of(split)
    if others or one.in_percent or min(one.first or 0, one.last or 0) < 0:
        return None
    return one.last if one.last is not None or limit is None else (one.first or 0) + limit


def check_split(path: str, split: str) -> Iterator[Problem]:
    """Yield a slice that no split has rows for."""
    if re.fullmatch(SPLIT, split) and any(one.is_empty for one in slices_of(split)):
        fix = "the first bound is counted in, the last one is not; write for example train[10%:20%]"
        yield Problem(path, split, "a slice that ends where it begins, or before, has no rows", fix)


def _share(percent: int) -> int:
    return percent + 100 if percent < 0 else percent


def _slice(split: str, first: str | None, percent: str | None, last: str | None, also: str | None) -> Slice:
    return Slice(split, int(first) if first else None, int(last) if last else None, bool(percent or also))
