"""Hashes of files and folders, in the form in which they name content."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file at `path` in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(folder: Path, paths: Iterable[str]) -> str:
    """Return one hash over names and contents of `paths` below `folder`, whatever their order or times."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{sha256_of(folder / path)}  {path}\n".encode())
    return digest.hexdigest()
