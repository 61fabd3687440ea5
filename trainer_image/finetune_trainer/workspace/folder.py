"""Folders that are either whole or not there: written aside, pushed to the disk, then renamed."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from finetune_trainer.workspace.whole_file import sync

#: Prefix of folders that are being written, or that a killed process left behind.
UNFINISHED = ".unfinished-"
#: Suffix of a folder that is being replaced.
OLD = "-old"


@contextlib.contextmanager
def whole_folder(target: Path, *, attempt: int = 0, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` at the end, replacing it; on an error nothing changes.

    Each attempt has a folder of its own to fill. `check` raises if it may not become the target: it is asked last of
    all, as pushing gigabytes to a disk takes long enough for a successor to begin.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = unfinished(target, attempt=attempt)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        push_to_disk(aside)
        check()
        replace(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def unfinished(target: Path, *, attempt: int) -> Path:
    """Return the folder that an attempt fills, to become `target`."""
    return target.parent / f"{UNFINISHED}{target.name}-attempt-{attempt}"


def replace(source: Path, target: Path) -> None:
    """Rename `source` to `target`; an old `target` is moved away first, as folders cannot be exchanged.

    Whenever this process is killed, one of the two is there, and `mend` makes it the target again.
    """
    mend(target)
    old = moved_away(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    source.rename(target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def moved_away(target: Path) -> Path:
    """Return where a folder is while it is being replaced."""
    return target.parent / f"{UNFINISHED}{target.name}{OLD}"


def mend(target: Path) -> None:
    """Put back what a process that was killed between the two renames of `replace` has moved away."""
    old = moved_away(target)
    if old.exists() and not target.exists():
        old.rename(target)
        sync(target.parent)


def push_to_disk(folder: Path) -> None:
    """Wait until every file below `folder` is on the disk, and the folders that name them."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def remove_unfinished(parent: Path) -> None:
    """Remove what killed processes left half-written; what they were about to replace is put back."""
    for path in parent.glob(f"{UNFINISHED}*{OLD}"):
        mend(parent / path.name.removeprefix(UNFINISHED).removesuffix(OLD))
    for path in parent.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)
