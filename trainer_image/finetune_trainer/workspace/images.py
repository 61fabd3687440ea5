"""The images of a job: many in each of a few tar archives, read by name through an index (ADR 35).

`inputs/images/00000.tar` and so on hold them as files that any tar unpacks. `index.arrow` says of each image in which
archive it lies and where, in the order of the names; while prepare is at work, the newest archives have indices of
their own, which say what is known to be on the disk.
"""

from bisect import bisect_left
from functools import cached_property
from pathlib import Path
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc

INDEX = "index.arrow"
SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("shard", pa.uint32()),
        ("offset", pa.uint64()),
        ("size", pa.uint32()),
        ("crc32", pa.uint32()),
        ("remarks", pa.list_(pa.string())),
    ]
)


class KeptImages:
    """Reads images by name. Threads and forked processes may share it; it may be pickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[int, pa.OSFile] = {}

    def __reduce__(self) -> tuple[type["KeptImages"], tuple[Path]]:
        return type(self), (self._folder,)

    @cached_property
    def index(self) -> pa.RecordBatch:
        """Return the index as it was when it was first asked for."""
        return read_index(self._folder)

    def read(self, name: str) -> bytes:
        """Return the bytes of an image.

        Raises:
            OSError: it is not there, or is not what was written.

        """
        if "/" in name:  # the path of a file of its own, as versions before archives laid images out
            return (self._folder / name).read_bytes()
        names = self.index["name"]
        row = bisect_left(names, name, key=pa.StringScalar.as_py)
        if row == len(names) or names[row].as_py() != name:
            raise FileNotFoundError(f"image {name} is not in {self._folder}")
        shard, offset, size, checksum = (self.index[column][row].as_py() for column in SCHEMA.names[1:5])
        if shard not in self._files:
            self._files[shard] = pa.OSFile(str(shard_path(self._folder, shard)))
        content: bytes = self._files[shard].read_at(size, offset)
        if crc32(content) != checksum:
            raise OSError(f"image {name} in {shard_path(self._folder, shard)} has changed since it was written")
        return content


def shard_path(folder: Path, shard: int) -> Path:
    """Return the archive of a number."""
    return folder / f"{shard:05}.tar"


def read_index(folder: Path) -> pa.RecordBatch:
    """Return where each image is, in the order of the names; one index is mapped, not read."""
    parts = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in sorted(folder.glob("*.arrow"))]
    table = pa.concat_tables([SCHEMA.empty_table(), *parts]) if len(parts) != 1 else parts[0]
    if len(parts) > 1:
        table = table.sort_by("name")
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=SCHEMA)


def shard_ends(index: pa.RecordBatch) -> dict[int, int]:
    """Return for each archive where its last image ends."""
    ends = pa.table([index["shard"], pc.add(index["offset"], index["size"])], names=["shard", "end"])
    return {one["shard"]: one["end_max"] for one in ends.group_by("shard").aggregate([("end", "max")]).to_pylist()}


def short_shards(folder: Path, index: pa.RecordBatch) -> set[int]:
    """Return the archives that are missing, or end before the images that they should hold."""
    sizes = {path: path.stat().st_size for path in folder.glob("*.tar")}
    return {shard for shard, end in shard_ends(index).items() if sizes.get(shard_path(folder, shard), 0) < end}
