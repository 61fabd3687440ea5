"""Keys of content: equal inputs give equal keys, so that what is built once is found again."""

import hashlib
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

UNUSED_SECONDS_BEFORE_PRUNING = 3 * 24 * 3600


def key_of(*inputs: str | Path) -> str:
    """Return a short key of the given texts, files and folders (names and contents, in a fixed order)."""
    digest = hashlib.sha256()
    for part in inputs:
        for name, content in _contents(part):
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def _contents(part: str | Path) -> Iterable[tuple[str, bytes]]:
    if isinstance(part, str):
        yield "", part.encode()
    elif part.is_dir():
        for path in sorted(part.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(part)), path.read_bytes()
    else:
        yield part.name, part.read_bytes()


def prune(folder: Path, *, keep: str) -> None:
    """Delete entries of `folder` that nobody asked for in days; asking for `keep` is noted now."""
    (folder / keep).touch()
    for entry in folder.iterdir():
        is_old = time.time() - entry.stat().st_mtime > UNUSED_SECONDS_BEFORE_PRUNING
        if entry.name != keep and is_old:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
