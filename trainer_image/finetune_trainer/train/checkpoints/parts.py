"""A checkpoint's tensors, by PyTorch's distributed checkpoints: each rank writes a part, however many ranks read it.

A part is hashed on its way to the volume; reading it back would take as long as writing it.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from finetune_trainer.workspace.manifest import FileHash

#: Where PyTorch says which tensor lies where.
INDEX = ".metadata"


def own_part(tensors: Mapping[str, torch.Tensor], *, rank: int, world_size: int) -> dict[str, torch.Tensor]:
    """Return what this rank writes: its shards, and of what every rank has whole about an equal share of the bytes.

    PyTorch would leave out what other ranks write, too, but only after each rank has copied everything.
    """
    owners: dict[str, int] = {}
    loads = [0] * world_size
    for name, one in sorted(tensors.items(), key=lambda item: (-item[1].nbytes, item[0])):
        if not isinstance(one, DTensor):
            owners[name] = loads.index(min(loads))
            loads[owners[name]] += one.nbytes
    return {name: one.detach() for name, one in tensors.items() if owners.get(name, rank) == rank}


def write_part(
    part: Mapping[str, torch.Tensor],
    folder: Path,
    *,
    group: ProcessGroup | None,
    begin: Callable[[], None],
    end: Callable[[Sequence[FileHash]], None],
) -> None:
    """Write this rank's part into `folder`; returns, or fails, on every rank or on none.

    Args:
        part: tensors in main memory.
        folder: the same on all ranks.
        group: of gloo, used by nobody else meanwhile; None in a world of one.
        begin: makes the folder; called on the first rank, before any writes.
        end: takes the hashes of all parts; called on the first rank, after all have written.

    """
    with first_cause():
        save(dict(part), storage_writer=_PartWriter(folder, begin, end), process_group=group, no_dist=group is None)


def read_parts(tensors: Mapping[str, torch.Tensor], folder: Path, *, group: ProcessGroup | None) -> None:
    """Read these tensors in place, of each what this rank has of it; every rank calls this."""
    with first_cause():
        whole = {name: one.detach() for name, one in tensors.items()}
        load(whole, storage_reader=FileSystemReader(folder), process_group=group, no_dist=group is None)


def stored_tensors(folder: Path) -> dict[str, TensorStorageMetadata]:
    """Return sizes and types of what was written, by name."""
    found: dict[str, Any] = FileSystemReader(folder).read_metadata().state_dict_metadata
    return found


@contextlib.contextmanager
def first_cause() -> Iterator[None]:
    """Raise what went wrong on a rank, on all of them; PyTorch's own exception is no Exception."""
    try:
        yield
    except CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise cause from None


class _HashedFile(io.BufferedWriter):
    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self.digest = hashlib.sha256()

    def write(self, content: Any, /) -> int:  # noqa: ANN401 - whatever has bytes
        self.digest.update(content)
        return super().write(content)


class _HashingFileSystem(FileSystem):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[FileHash] = []

    @contextlib.contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        assert mode == "wb", "nothing is read here"
        with _HashedFile(Path(path)) as file:
            yield file
        size = Path(path).stat().st_size
        self.written.append(FileHash(path=Path(path).name, sha256=file.digest.hexdigest(), size_bytes=size))


class _PartWriter(FileSystemWriter):
    """Called by PyTorch, which passes on to all ranks what is raised on one of them."""

    def __init__(self, folder: Path, begin: Callable[[], None], end: Callable[[Sequence[FileHash]], None]) -> None:
        super().__init__(folder, per_thread_copy_ahead=0)  # copying ahead is for tensors on an accelerator
        self.fs = self._files = _HashingFileSystem()
        self._begin, self._end = begin, end

    def prepare_local_plan(self, plan: Any) -> Any:  # noqa: ANN401
        """Leave the folder alone: every rank is here, and the first one has yet to make it."""
        return plan

    def prepare_global_plan(self, plans: Any) -> Any:  # noqa: ANN401
        self._begin()
        return super().prepare_global_plan(plans)

    def write_data(self, plan: Any, planner: Any) -> Any:  # noqa: ANN401
        """Return the hashes of this rank's files besides what PyTorch wants to know, as it sends that to the first."""
        return super().write_data(plan, planner).then(lambda written: [*written.value(), *self._files.written])

    def finish(self, metadata: Metadata, results: list[list[Any]]) -> None:
        super().finish(metadata, [[one for one in part if not isinstance(one, FileHash)] for part in results])
        self._end([one for part in results for one in part if isinstance(one, FileHash)])
