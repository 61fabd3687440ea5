"""Hashes of files and folders, in the form in which they name content."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

READ_AT_ONCE = 16  # mostly waiting for storage
_BEGUN_AT_ONCE = 1000


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file at `path` in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(folder: Path, paths: Iterable[str]) -> str:
    """Return one hash over names and contents of `paths` below `folder`, whatever their order or times.

    Several files are read at once: a million small ones on shared storage would take hours one after another.
    """
    names, digest = sorted(paths), hashlib.sha256()
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        for start in range(0, len(names), _BEGUN_AT_ONCE):
            some = names[start : start + _BEGUN_AT_ONCE]
            for path, found in zip(some, pool.map(sha256_of, (folder / name for name in some)), strict=True):
                digest.update(f"{found}  {path}\n".encode())
    return digest.hexdigest()
