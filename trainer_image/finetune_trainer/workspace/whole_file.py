"""Files that are whole or not there, also after a power cut: written aside, pushed to the disk, then renamed."""

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Make `path` hold `content`; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.tmp")
    aside.write_bytes(content.encode() if isinstance(content, str) else content)
    sync(aside)  # a rename may reach the disk before what was written, and leave an empty file
    aside.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
