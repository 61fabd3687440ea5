"""A folder on a volume claim as a source: found below its mount, read without leaving it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from finetune_api.reasons import Reason
from finetune_api.sources import ClaimSource
from finetune_api.workspace import CLAIM_FOLDERS
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.hashes import sha256_of


def find_claim_folder(source: ClaimSource, *, mounts: Path, missing: Reason) -> Path:
    """Return the folder that `source` names; fails with `missing` where there is none."""
    mount = mounts / source.claim
    folder = (mount / source.path).resolve()
    if not folder.is_dir():
        message = (
            f"pvc://{source.claim}/{source.path} is no folder; "
            f"the claim holds {_names(mount) or 'nothing, or is not mounted'}"
        )
        raise RunFailure(missing, message)
    _check_inside(folder, mount, missing)
    return folder


def list_files(folder: Path, *, mount: Path, missing: Reason) -> list[str]:
    """Return the paths of all files below `folder`; refuses links that lead out of the claim."""
    own = mount.resolve() / CLAIM_FOLDERS  # workspaces of jobs that train on this claim, and no part of its content
    is_inside = folder.is_relative_to(own)
    found = _walk(folder) if is_inside else (path for path in _walk(folder) if not path.is_relative_to(own))
    paths = [path for path in found if path.is_file()]
    for path in paths:
        _check_inside(path.resolve(), mount, missing)
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def copy_files(
    folder: Path, paths: list[str], *, target: Path, copy: Callable[[Path, Path], object] | None = None
) -> None:
    """Make `target` hold exactly `paths`, by `copy` if not as copies; what is there and equal is left alone."""
    for path in paths:
        destination = target / path
        if destination.is_file() and sha256_of(destination) == sha256_of(folder / path):
            continue
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_name(destination.name + ".partial")
        (copy or shutil.copyfile)(folder / path, partial)
        partial.rename(destination)
    wanted = set(paths)
    for found in list(_walk(target)):
        if found.is_file() and found.relative_to(target).as_posix() not in wanted:
            found.unlink()


def _walk(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in names)


def _check_inside(path: Path, mount: Path, missing: Reason) -> None:
    if not path.is_relative_to(mount.resolve()):
        raise RunFailure(missing, f"a path of claim {mount.name} leads out of the claim; replace the link by the file")


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:10]) if folder.is_dir() else ""
