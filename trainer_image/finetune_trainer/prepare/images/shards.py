"""Writes images into tar archives of some 256 MB, so that a kill at any moment costs seconds of work (ADR 35).

An archive is pushed to the disk before the index that names its images is put in place, in one piece: whatever an index
names is whole, and what follows in an archive is cut off when prepare comes back.
"""

import io
import os
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc

from finetune_trainer.workspace.images import INDEX, SCHEMA, read_index, shard_ends, shard_path, short_shards
from finetune_trainer.workspace.whole_file import write_whole

SHARD_BYTES = 256 * 1024 * 1024
COMMIT_SECONDS = 10.0


class ShardWriter:
    """Appends images to the archives of a folder, on top of what an earlier try has left. For one thread."""

    def __init__(self, folder: Path, *, shard_bytes: int = SHARD_BYTES, commit_seconds: float = COMMIT_SECONDS) -> None:
        self._folder, self._shard_bytes, self._commit_seconds = folder, shard_bytes, commit_seconds
        self.index = take_up(folder)
        """What was there."""
        self._shard = max((int(path.stem) for path in folder.glob("*.tar")), default=-1)
        self._tar: tarfile.TarFile | None = None
        self._rows: list[dict[str, Any]] = []

    def add(self, name: str, content: bytes, *, extension: str, remarks: Sequence[str] = ()) -> None:
        """Append an image; it is sure to stay after some seconds, or after `commit`."""
        tar = self._tar or self._begin()
        info = tarfile.TarInfo(f"{name}.{extension}")
        info.size = len(content)
        offset = self._file.tell() + tarfile.BLOCKSIZE
        tar.addfile(info, io.BytesIO(content))
        where = {"name": name, "shard": self._shard, "offset": offset, "size": len(content), "crc32": crc32(content)}
        self._rows.append({**where, "remarks": list(remarks)})
        if self._file.tell() >= self._shard_bytes:
            self._end()
        elif time.monotonic() - self._committed > self._commit_seconds:
            self.commit()

    def commit(self) -> None:
        """Make sure of all that was added: it may be read now, and outlives this process."""
        if self._tar is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            _write(self._folder / f"{self._shard:05}.arrow", pa.Table.from_pylist(self._rows, schema=SCHEMA))
            self._committed = time.monotonic()

    def close(self) -> None:
        """Commit, and join the indices."""
        self._end()
        _join(self._folder, read_index(self._folder))

    def _begin(self) -> tarfile.TarFile:
        self._shard += 1
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = shard_path(self._folder, self._shard).open("xb")
        self._tar = tarfile.open(  # noqa: SIM115 - `_end` closes it
            fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT
        )
        self._rows, self._committed = [], time.monotonic()
        return self._tar

    def _end(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self.commit()
            self._file.close()
            self._tar = None


def take_up(folder: Path) -> pa.RecordBatch:
    """Return the index of what an earlier try has left whole; the rest is removed."""
    index = read_index(folder)
    if short := short_shards(folder, index):
        index = index.filter(pc.invert(pc.is_in(index["shard"], pa.array(sorted(short), pa.uint32()))))
    ends = shard_ends(index)
    for path in folder.glob("*.tar"):
        if int(path.stem) not in ends:
            path.unlink()
        elif path.with_suffix(".arrow").exists():
            _cut(path, ends[int(path.stem)])
    _join(folder, index)
    return index


def _cut(path: Path, end: int) -> None:
    """End an archive after the image that ends at `end`, with the two blocks of zeros that say so."""
    blocks = -(-end // tarfile.BLOCKSIZE)
    os.truncate(path, blocks * tarfile.BLOCKSIZE)
    os.truncate(path, (blocks + 2) * tarfile.BLOCKSIZE)


def _join(folder: Path, index: pa.RecordBatch) -> None:
    """Leave one index of all images."""
    if len(index):
        _write(folder / INDEX, pa.Table.from_batches([index]))
    for path in folder.glob("*.arrow"):
        if path.name != INDEX or not len(index):
            path.unlink()


def _write(path: Path, index: pa.Table) -> None:
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_file(buffer, SCHEMA) as file:
        file.write_table(index.sort_by("name"))
    write_whole(path, buffer.getvalue())
