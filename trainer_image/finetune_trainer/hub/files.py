"""Files on this side, compared with what the Hub lists of them."""

import hashlib
from pathlib import Path

from huggingface_hub import RepoFile

from finetune_trainer.workspace.hashes import sha256_of


def is_as_listed(path: Path, entry: RepoFile) -> bool:
    """Say whether the file at `path` has the size and the hash that the Hub lists."""
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    if entry.lfs is not None:
        return sha256_of(path) == entry.lfs.sha256
    return git_blob_id(path) == entry.blob_id


def git_blob_id(path: Path) -> str:
    """Return the name that git gives to the content of the file at `path`."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
