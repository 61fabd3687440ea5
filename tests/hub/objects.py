"""File contents on disk, each under its sha256, written as a stream."""

import hashlib
import os
import tempfile
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from tests.hub.errors import bad_request


class Stored(NamedTuple):
    sha256: str
    size: int


class Objects:
    """A folder of immutable contents; equal contents are kept once."""

    def __init__(self, directory: Path) -> None:
        self._objects = directory / "objects"
        self._incoming = directory / "incoming"
        for folder in (self._objects, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self._objects / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        return self.path(sha256).read_bytes()

    def incoming(self) -> BinaryIO:
        """Return an unnamed file for content that is still arriving; closing it removes it."""
        return tempfile.TemporaryFile(dir=self._incoming)

    def put(self, content: bytes) -> Stored:
        stored = Stored(hashlib.sha256(content).hexdigest(), len(content))
        with _Arrival(self._incoming) as arrival:
            arrival.write(content)
            arrival.keep_as(self.path(stored.sha256))
        return stored

    async def put_stream(self, chunks: AsyncIterable[bytes], *, expected: Stored) -> Stored:
        """Store a stream; 400 unless its size and sha256 are the expected ones."""
        with _Arrival(self._incoming) as arrival:
            async for chunk in chunks:
                arrival.write(chunk)
            return self._keep(arrival, expected=expected)

    def put_parts(self, parts: Iterable[BinaryIO], *, expected: Stored) -> Stored:
        """Store the concatenation of the parts; 400 unless its size and sha256 are the expected ones."""
        with _Arrival(self._incoming) as arrival:
            for part in parts:
                part.seek(0)
                while chunk := part.read(1 << 20):
                    arrival.write(chunk)
            return self._keep(arrival, expected=expected)

    def _keep(self, arrival: "_Arrival", *, expected: Stored) -> Stored:
        if arrival.size != expected.size:
            raise bad_request(f"Size mismatch: expected {expected.size} bytes, got {arrival.size}")
        if arrival.sha256 != expected.sha256:
            raise bad_request(f"Checksum mismatch: expected sha256 {expected.sha256}, got {arrival.sha256}")
        arrival.keep_as(self.path(expected.sha256))
        return expected


class _Arrival:
    """Content on its way to its place: a temporary file that is hashed while it is written."""

    def __init__(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(dir=folder)
        self._file = os.fdopen(handle, "wb")
        self._path = Path(name)
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def keep_as(self, path: Path) -> None:
        self._file.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(path)
