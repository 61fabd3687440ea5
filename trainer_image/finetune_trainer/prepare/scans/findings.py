"""What a scan finds: the columns of a file and what they hold, or the one thing that keeps it from being read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from finetune_trainer.workspace.causes import one_line

NOTHING, TEXT, WHOLE, NUMBERS, BOOLEAN = "no values", "text", "whole numbers", "numbers", "true or false"
LISTS, OBJECTS, MIXED = "lists", "objects", "values of several types"

#: What the library turns into the type of a column that is known already.
_TAKEN_BY = {TEXT: (WHOLE, NUMBERS, BOOLEAN, OBJECTS), NUMBERS: (WHOLE,)}

_SHOWN = 60
_LISTED = 5


class BrokenFile(Exception):  # noqa: N818 - it is what was looked for
    """A file cannot be read: `where` in it, `because` of what, and what to do."""

    def __init__(self, because: str, remedy: str, *, where: str = "") -> None:
        super().__init__(because)
        self.because = because
        self.remedy = remedy
        self.where = where


@dataclass
class Columns:
    """The columns of one file and what each holds.

    The library takes the types from the beginning of a file: once that is `closed`, columns and kinds that do not fit
    them are a fault.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    closed: bool = False
    otherwise: str = MIXED
    """What a column of several kinds holds."""

    def add(self, column: str, kind: str, *, where: str, value: object) -> None:
        """Take note of one value."""
        known = self.kinds.get(column)
        if self.closed:
            if known is None:
                message = f"column {column} is new here; the rows before have {listed([*self.kinds])}"
                raise BrokenFile(message, "give all rows the same columns", where=where)
            if not fits(kind, known):
                message = f"column {column} holds {kind} here ({excerpt(str(value))}) and {known} before"
                raise BrokenFile(message, "make all values of the column of one type", where=where)
        elif known != kind:
            self.kinds[column] = _merged(known, kind, otherwise=self.otherwise)


def fits(kind: str, known: str) -> bool:
    """Say whether values can be read as a column of a known kind."""
    return kind == NOTHING or known in (kind, MIXED) or kind in _TAKEN_BY.get(known, ())


def _merged(known: str | None, kind: str, *, otherwise: str) -> str:
    if known in (None, NOTHING):
        return kind
    if kind == NOTHING:
        return known or kind
    return NUMBERS if {known, kind} == {WHOLE, NUMBERS} else otherwise


def excerpt(line: str | bytes, *, around: int = 0) -> str:
    """Return the piece of a line that a message shows."""
    start = max(0, around - _SHOWN // 2)
    piece = line[start : start + _SHOWN]
    text = piece if isinstance(piece, str) else piece.decode("ascii", errors="backslashreplace")
    return f"{'...' if start else ''}{_printable(text)}{'...' if start + _SHOWN < len(line) else ''}"


def undecodable(line: bytes, encoding: str) -> str:
    """Return the first byte that is not of the encoding, and what stands around it; nothing if all are."""
    try:
        line.decode(encoding)
    except UnicodeDecodeError as error:
        return f"(byte 0x{line[error.start]:02X} in {excerpt(line.rstrip(), around=error.start)})"
    return ""


def listed(names: Sequence[str]) -> str:
    """Return the first of several names as messages show them."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def words(error: BaseException) -> str:
    """Return an error of a library as messages show it."""
    return _printable(one_line(error))[:200]


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
