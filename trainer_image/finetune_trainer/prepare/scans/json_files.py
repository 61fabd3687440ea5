"""JSON lines, and JSON files that hold one list or one object."""

import json
from collections import Counter
from functools import partial
from itertools import chain
from typing import IO, Any

from finetune_trainer.prepare.scans.findings import (
    BOOLEAN,
    LISTS,
    NOTHING,
    NUMBERS,
    OBJECTS,
    TEXT,
    WHOLE,
    BrokenFile,
    Columns,
    excerpt,
)
from finetune_trainer.prepare.scans.lines import read_lines

_BEGINNING = 10 << 20  # characters that the library takes the types from
_KINDS = {str: TEXT, bool: BOOLEAN, int: WHOLE, float: NUMBERS, list: LISTS, dict: OBJECTS, type(None): NOTHING}
_REMEDY = 'give each row as an object on a line of its own, such as {"query": "...", "positive": "..."}'


def scan_json(stream: IO[bytes], *, encoding: str = "utf-8") -> Columns:
    """Return the columns of a JSON file; fails with the first line that is broken."""
    columns, read = Columns(), 0
    lines = read_lines(stream, encoding=encoding)
    for number, line in enumerate(lines, start=1):
        read += len(line)
        if not line.strip():
            continue
        if columns.rows == 0 and not _is_whole(line):
            # A list, or an object over several lines.
            return _scan_document("".join(chain("\n" * (number - 1), [line], lines)))
        _add(columns, _parse(line, number), where=f"line {number}")
        columns.closed = read >= _BEGINNING
    return columns


def _is_whole(line: str) -> bool:
    """Say whether a line is a row of its own."""
    try:
        return not isinstance(json.loads(line), list)
    except ValueError:
        return False


def _parse(line: str, number: int) -> Any:  # noqa: ANN401 - JSON
    where = f"line {number}"
    try:
        row = json.loads(line, object_pairs_hook=partial(_as_object, where=where))
    except json.JSONDecodeError as error:
        raise _as_fault(error, line, number=number, remedy="mend or delete the line") from error
    _check_characters(row, where=where)
    return row


def _check_characters(row: Any, *, where: str) -> None:  # noqa: ANN401 - JSON
    """Refuse what Python's json takes, and nothing else: a character of two halves of which one is missing."""
    try:
        text = json.dumps(row, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError as error:
        shown = excerpt(text, around=error.start)
        message = f"half of a surrogate pair (\\u{ord(text[error.start]):04x} in {shown})"
        raise BrokenFile(message, "write the whole character or none", where=where) from error


def _as_object(pairs: list[tuple[str, Any]], *, where: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise BrokenFile(f"{twice} is given more than once", "give it once", where=where)
    return found


def _scan_document(text: str) -> Columns:
    columns, decoder, position, number = Columns(), json.JSONDecoder(), 0, 0
    while position < len(text):
        start = len(text) - len(text[position:].lstrip())
        if start == len(text):
            break
        try:
            value, position = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            line = text.splitlines()[error.lineno - 1] if error.pos < len(text) else ""
            raise _as_fault(error, line, number=error.lineno, remedy="mend the file there") from error
        for row in value if isinstance(value, list) else [value]:
            _check_characters(row, where=f"row {number}")
            _add(columns, row, where=f"row {number}")
            number += 1
    return columns


def _add(columns: Columns, row: Any, *, where: str) -> None:  # noqa: ANN401 - JSON
    if row is None:
        return
    if not isinstance(row, dict):
        shown = excerpt(json.dumps(row, ensure_ascii=False))
        raise BrokenFile(f"{shown} is no object with columns", _REMEDY, where=where)
    columns.rows += 1
    for column, value in row.items():
        columns.add(column, _KINDS[type(value)], where=where, value=value)


def _as_fault(error: json.JSONDecodeError, line: str, *, number: int, remedy: str) -> BrokenFile:
    shown = excerpt(line.rstrip(), around=error.colno) or "the file ends here"
    return BrokenFile(f"no valid JSON ({error.msg}, column {error.colno}: {shown})", remedy, where=f"line {number}")
