"""Keeps what was built outside the checkout, under a key of all that decides about its bytes."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

# They write the files that are kept.
LIBRARIES = ("datasets", "pillow", "pypdfium2", "sentence-transformers", "torch", "transformers")


def cache_folder() -> Path:
    """Return the folder that outlives checkouts: `$XDG_CACHE_HOME/finetune-operator/inputs`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "finetune-operator", "inputs")


def source_key() -> str:
    """Return a hash of this package's sources and of the libraries' versions."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    for library in LIBRARIES:
        digest.update(f"{library}=={version(library)}\n".encode())
    return digest.hexdigest()[:16]


def ensure_built(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cached folder of `name`; if there is none, `build` fills it, and it appears only when complete."""
    folder = cache_folder() / f"{name}-{source_key()}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        unfinished = Path(temporary, name)
        unfinished.mkdir()
        build(unfinished)
        unfinished.rename(folder)
    return folder
