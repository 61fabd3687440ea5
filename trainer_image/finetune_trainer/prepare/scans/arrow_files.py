"""Parquet and Arrow files."""

import re
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from finetune_trainer.prepare.scans.findings import BrokenFile, Columns, excerpt, undecodable, words

_MAGIC = b"PAR1"
_NOT_UTF8 = re.compile(r"Invalid UTF8 sequence at string index (\d+)")
_REMEDY = "copy or write the file anew"


def scan_parquet(stream: IO[bytes]) -> Columns:
    """Return the columns of a parquet file; fails with what is broken in it."""
    head = stream.read(60)
    size = stream.seek(0, 2)
    stream.seek(max(0, size - len(_MAGIC)))
    tail = stream.read()
    stream.seek(0)
    if not head.startswith(_MAGIC):
        raise BrokenFile(f"no parquet file; it begins with {excerpt(head)}", _REMEDY)
    if tail != _MAGIC or size <= len(_MAGIC):
        raise BrokenFile(f"the parquet file has no end; it is cut off after {size} bytes", _REMEDY)
    try:
        file = pq.ParquetFile(stream)
        schema = file.schema_arrow
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BrokenFile(f"its parquet footer is broken ({words(error)})", _REMEDY) from error
    return _scan(schema, (file.read_row_group(group) for group in range(file.num_row_groups)))


def scan_arrow(stream: IO[bytes]) -> Columns:
    """Return the columns of an Arrow file or stream; fails with what is broken in it."""
    try:
        try:
            reader = pa.ipc.open_stream(stream)
        except pa.ArrowInvalid:
            stream.seek(0)
            file = pa.ipc.open_file(stream)
            return _scan(file.schema, (file.get_batch(index) for index in range(file.num_record_batches)))
        return _scan(reader.schema, reader)
    except (pa.ArrowException, OSError) as error:
        raise BrokenFile(f"no Arrow file, or one that is cut off ({words(error)})", _REMEDY) from error


def _scan(schema: Any, parts: Iterator[Any]) -> Columns:  # noqa: ANN401 - pyarrow has no types
    columns = Columns(kinds={field.name: _kind(field.type) for field in schema})
    part = iter(parts)
    while True:
        try:
            rows = next(part, None)
            if rows is None:
                return columns
            for field in schema:
                _check(rows.column(field.name), field.name, start=columns.rows)
        except (pa.ArrowException, OSError) as error:
            message = f"the rows from row {columns.rows} on cannot be read ({words(error)})"
            raise BrokenFile(message, _REMEDY) from error
        columns.rows += rows.num_rows


def _kind(stored: Any) -> str:  # noqa: ANN401 - as above
    """Return a type by what it holds, however it is stored."""
    return str(stored).replace("large_", "").replace("element: ", "item: ")


def _check(cells: Any, column: str, *, start: int) -> None:  # noqa: ANN401 - as above
    for chunk in getattr(cells, "chunks", [cells]):
        try:
            chunk.validate(full=True)
        except pa.ArrowInvalid as error:
            found = _NOT_UTF8.fullmatch(str(error))
            if found is None:  # cells that point anywhere must not be looked at
                raise
            cell = chunk.slice(int(found[1]), 1).cast(pa.large_binary())[0].as_py()
            message = f"column {column} is not UTF-8 {undecodable(cell, 'utf-8')}"
            where = f"row {start + int(found[1])}"
            raise BrokenFile(message, "write its texts in UTF-8", where=where) from error
        start += len(chunk)
