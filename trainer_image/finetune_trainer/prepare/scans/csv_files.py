"""CSV files, and those with another separator."""

import csv
import re
import sys
from collections.abc import Iterator
from typing import IO

from finetune_trainer.prepare.scans.findings import NOTHING, NUMBERS, TEXT, WHOLE, BrokenFile, Columns, excerpt
from finetune_trainer.prepare.scans.lines import read_lines

_BEGINNING = 10_000  # rows that the library takes the types from
_MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "#NA")
_END = "\0end"
SEPARATORS = ";\t|"
_LONE_RETURN = re.compile(r"(?<=\r)(?!\n|$)")  # ends a line, too


def scan_csv(stream: IO[bytes], *, encoding: str = "utf-8", separator: str = ",", quote: str = '"') -> Columns:
    """Return the columns of a CSV file, none if it has no header; fails with the first line that is broken."""
    columns = Columns(otherwise=TEXT)
    header: list[str] = []
    for line, fields in _records(read_lines(stream, encoding=encoding), separator=separator, quote=quote):
        if not header:
            header = fields
            columns.kinds = dict.fromkeys(header, NOTHING)
            continue
        where = f"line {line}"
        if len(fields) > len(header):
            raise _too_many(fields, header, separator, where)
        for column, cell in zip(header, fields, strict=False):
            columns.add(column, _kind(cell), where=where, value=cell)
        columns.rows += 1
        columns.closed = columns.rows >= _BEGINNING
    return columns


def _records(lines: Iterator[str], *, separator: str, quote: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line where each record starts, and its fields; fails with a quote that is never closed."""
    csv.field_size_limit(sys.maxsize)  # texts are as long as they are
    reader = csv.reader(_with_end(lines), delimiter=separator, quotechar=quote)
    start = 1
    for fields in reader:
        if fields == [_END]:
            return
        if fields and fields[-1].endswith(_END):
            shown = excerpt(separator.join(fields).removesuffix(_END).splitlines()[0])
            raise BrokenFile(f"a quote opens here and is never closed ({shown})", "close it", where=f"line {start}")
        if fields:
            yield start, fields
        start = reader.line_num + 1


def _with_end(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield from _LONE_RETURN.split(line)
    yield _END


def _too_many(fields: list[str], header: list[str], separator: str, where: str) -> BrokenFile:
    message = f"{len(fields)} fields ({excerpt(separator.join(fields))}), but the header has {len(header)}: "
    message += excerpt(separator.join(header))
    other = next((one for one in SEPARATORS if one != separator and one in header[0]), None)
    if len(header) == 1 and other:
        return BrokenFile(message, f"separate fields by {separator!r}, not by {other!r}", where=where)
    return BrokenFile(message, f"put fields that hold {separator!r} between double quotes", where=where)


def _kind(cell: str) -> str:
    if cell in _MISSING:
        return NOTHING
    for kind, read in ((WHOLE, int), (NUMBERS, float)):
        try:
            read(cell)
        except ValueError:
            continue
        return kind
    return TEXT
