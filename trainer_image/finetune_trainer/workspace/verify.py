"""Sizes and hashes of a checkpoint's files, so that a damaged one is seen before it is trained on."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import Field, ValidationError

from finetune_api.base import Contract
from finetune_trainer.workspace.hashes import READ_AT_ONCE, sha256_of
from finetune_trainer.workspace.manifest import FileHash

MANIFEST = "manifest.json"


class CheckpointManifest(Contract):
    """What belongs to one checkpoint; written last."""

    step: int
    """Optimizer steps made."""
    world_size: int
    """Ranks that wrote it."""
    began_with: int = 0
    """Ranks that the training began with, whose batches it keeps; 0 in earlier versions: those that wrote it."""
    run: str
    time: str
    """When it was written, RFC 3339."""
    files: list[FileHash]
    """Paths are relative to the checkpoint."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Version per package that wrote it."""


def hash_files(folder: Path, *, known: Sequence[FileHash] = ()) -> list[FileHash]:
    """Return every file below `folder` but the manifest, by path; those that are known are not read again."""
    found = {file.path: file for file in known}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in {MANIFEST, *found}:
            found[name] = hash_file(path, relative_to=folder)
    return [found[name] for name in sorted(found)]


def hash_file(path: Path, *, relative_to: Path) -> FileHash:
    """Return size and SHA-256 of one file."""
    name = path.relative_to(relative_to).as_posix()
    return FileHash(path=name, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def read_manifest(folder: Path) -> CheckpointManifest | None:
    """Return the manifest, or None if it is not there or not whole."""
    try:
        return CheckpointManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def find_damage(folder: Path, files: Sequence[FileHash]) -> str | None:
    """Return what is wrong with files below `folder`, or None.

    Sizes are looked at first: they cost nothing, and hashes a few seconds for a model of gigabytes. Several files are
    read at once, as a checkpoint has one for each rank.
    """
    for file in files:
        path = folder / file.path
        if not path.is_file():
            return f"{file.path} is missing"
        if path.stat().st_size != file.size_bytes:
            return f"{file.path} has {path.stat().st_size} bytes instead of {file.size_bytes}"
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        found = list(pool.map(sha256_of, (folder / file.path for file in files)))
    changed = (file.path for file, sha256 in zip(files, found, strict=True) if sha256 != file.sha256)
    return next((f"{path} has changed since it was written" for path in changed), None)
