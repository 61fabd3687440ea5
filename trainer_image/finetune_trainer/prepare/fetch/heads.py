"""The first rows of parquet files on the Hub, where no others are wanted: read over the network, range by range.

What is read so has no hash to be compared with, as the Hub has one of whole files alone; it is read by the commit.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfFileSystem

from finetune_trainer.hub.client import Api
from finetune_trainer.hub.errors import is_unreachable
from finetune_trainer.prepare.fetch.snapshot import Wanted
from finetune_trainer.prepare.fetch.split_files import Split
from finetune_trainer.workspace.causes import is_storage_full, one_line

#: Rows that are in memory together, and that make a row group of what is written.
_ROWS = 64
#: What one request asks for, and how many of these are kept: columns of a row group lie one after another.
_BLOCK_BYTES = 4 * 1024 * 1024
_BLOCKS = 32
_BUFFER_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Head:
    """What is wanted of a file."""

    rows: int
    """So many of its first ones; a file without any has its columns, for those who look for the files of a split."""
    schema: pa.Schema
    """Of the first file of its split."""


@dataclass(frozen=True)
class Repository:
    """The parquet files of a dataset at a commit, where they are."""

    files: HfFileSystem
    root: str

    @classmethod
    def of(cls, api: Api, pinned: Wanted) -> "Repository":
        """Return the dataset that is pinned."""
        files = HfFileSystem(endpoint=api.endpoint, token=api.token, skip_instance_cache=True)
        return cls(files, f"{pinned.kind}s/{pinned.repository}@{pinned.revision}")

    @contextmanager
    def open(self, path: str) -> Iterator[pq.ParquetFile]:
        """Give a file, of which nothing but what says where its rows are is read yet."""
        options = {"block_size": _BLOCK_BYTES, "cache_type": "blockcache", "cache_options": {"maxblocks": _BLOCKS}}
        with (
            self.files.open(f"{self.root}/{path}", "rb", **options) as file,
            pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False) as opened,
        ):
            yield opened

    def write(self, head: Head, path: str, target: Path) -> None:
        """Make `target` a file of the first rows of the one at `path`, unless it is that already."""
        if has_rows(target, head.rows):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        with pq.ParquetWriter(partial, head.schema) as writer:
            for batch in self._read(path, head.rows):
                writer.write_table(pa.Table.from_batches([batch]))
        partial.rename(target)
        _log.info("first rows fetched", extra={"path": path, "rows": head.rows})

    def _read(self, path: str, rows: int) -> Iterator[pa.RecordBatch]:
        if not rows:
            return
        with self.open(path) as file:
            batches = file.iter_batches(min(_ROWS, rows), use_threads=False)
            while rows > 0:
                batch = next(batches).slice(0, rows)
                yield batch
                rows -= len(batch)


def fetch_heads(
    repository: Repository,
    files_of: Mapping[Split, Sequence[str]],
    rows_of: Mapping[Split, int | None],
    *,
    folder: Path,
) -> set[str]:
    """Fetch the first rows of files of which no others are wanted, and return the paths of these files.

    None of them where they cannot be read alone: who asks for whole files next is told why, if these cannot be had
    either. A Hub that does not answer now is no reason to fetch more from it.
    """
    try:
        heads = plan_heads(repository, files_of, rows_of)
        for path, head in heads.items():
            repository.write(head, path, folder / path)
    except Exception as error:
        if is_unreachable(error) or is_storage_full(error):
            raise
        _log.warning("whole files are fetched, as their first rows cannot be", extra={"error": one_line(error)})
        return set()
    return set(heads)


def plan_heads(
    repository: Repository, files_of: Mapping[Split, Sequence[str]], rows_of: Mapping[Split, int | None]
) -> dict[str, Head]:
    """Return of which files no more than the first rows are wanted; those that are not named are whole.

    `rows_of` says how many of the first rows of a split are wanted, None for all of them.
    """
    wanted: dict[str, Head | None] = {}
    for split, files in files_of.items():
        for path, head in _heads_of(repository, files, rows_of[split]):
            before = wanted.get(path, head)
            is_whole = head is None or before is None
            wanted[path] = None if is_whole else max(head, before, key=lambda one: one.rows)
    return {path: head for path, head in wanted.items() if head is not None}


def _heads_of(repository: Repository, files: Sequence[str], rows: int | None) -> Iterator[tuple[str, Head | None]]:
    """Yield what is wanted of each file of a split, None for all of it."""
    if rows is None or not all(path.endswith(".parquet") for path in files):
        yield from ((path, None) for path in files)
        return
    schema = None
    for path in files:
        if rows <= 0 and schema is not None:
            yield path, Head(0, schema)
            continue
        with repository.open(path) as file:
            schema, found = schema or file.schema_arrow, file.metadata.num_rows
        yield path, Head(rows, schema) if rows < found else None
        rows -= found


def has_rows(path: Path, rows: int) -> bool:
    """Say whether a parquet file is there and has so many rows."""
    try:
        return bool(pq.read_metadata(path).num_rows >= rows)
    except (OSError, pa.ArrowException):
        return False
