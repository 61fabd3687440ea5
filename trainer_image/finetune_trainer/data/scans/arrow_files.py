"""Parquet and Arrow files."""

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from finetune_trainer.data.scans.findings import BrokenFile, Columns, excerpt, words

_MAGIC = b"PAR1"
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
    except (pa.ArrowException, OSError) as error:
        raise BrokenFile(f"its parquet footer is broken ({words(error)})", _REMEDY) from error
    return _scan(file.schema_arrow, (file.read_row_group(group) for group in range(file.num_row_groups)))


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
        except (pa.ArrowException, OSError) as error:
            message = f"the rows from row {columns.rows} on cannot be read ({words(error)})"
            raise BrokenFile(message, _REMEDY) from error
        if rows is None:
            return columns
        for field in schema:
            if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                _check_text(rows.column(field.name), field.name, start=columns.rows)
        columns.rows += rows.num_rows


def _kind(stored: Any) -> str:  # noqa: ANN401 - as above
    """Return a type by what it holds, however it is stored."""
    return str(stored).replace("large_", "").replace("element: ", "item: ")


def _check_text(cells: Any, column: str, *, start: int) -> None:  # noqa: ANN401 - as above
    try:
        cells.validate(full=True)
    except pa.ArrowInvalid:
        for number, cell in enumerate(cells.cast(pa.large_binary()).to_pylist(), start=start):
            try:
                (cell or b"").decode()
            except UnicodeDecodeError as error:
                shown = excerpt(cell, around=error.start)
                message = f"column {column} is not UTF-8 (byte 0x{cell[error.start]:02X} in {shown})"
                raise BrokenFile(message, "write its texts in UTF-8", where=f"row {number}") from error
