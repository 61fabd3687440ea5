"""Which files of a dataset repository hold the splits that are asked for, known from its card and names alone."""

import hashlib
import logging
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

import datasets

#: A subset, None for the default one, and a split of it.
Split = tuple[str | None, str]

_ROWS = (".parquet", ".jsonl", ".json", ".csv", ".arrow")
_DESCRIPTIONS = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt", "CITATION.cff", "dataset_infos.json")

_log = logging.getLogger(__name__)


def select_descriptions(paths: Iterable[str]) -> list[str]:
    """Return the files that say what the others are."""
    return [path for path in paths if PurePosixPath(path).name in _DESCRIPTIONS]


def find_split_files(
    paths: Collection[str], splits: Collection[Split], *, outline: Path
) -> dict[Split, list[str]] | None:
    """Return the files of `paths` that hold each split, in the order of its rows; one that is not there has none.

    None where rows may refer to other files, or where the library cannot tell splits from names. `outline` is a folder
    that holds the descriptions.
    """
    if not all(path.endswith(_ROWS) for path in set(paths) - set(select_descriptions(paths))):
        return None
    lay_placeholders(outline, paths)
    try:
        found = {split: [file for file in _files(outline, *split) if file in paths] for split in splits}
    except Exception:  # noqa: BLE001 - the library raises what it likes; told when the dataset is opened
        return None
    _log.info("files of the splits found", extra={"files": len(set().union(*found.values())), "of": len(paths)})
    return found


def lay_placeholders(folder: Path, paths: Iterable[str]) -> None:
    """Make an empty file for each path that is not there, so that the library finds every split by its name."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def _files(outline: Path, subset: str | None, split: str) -> list[str]:
    """Return the files of one split, none if subset or split are not there or a subset has to be named."""
    names = datasets.get_dataset_config_names(str(outline))
    if subset is not None and subset not in names:
        return []
    cache = outline.with_name(f"{outline.name}-{hashlib.sha256(str(subset).encode()).hexdigest()[:8]}")
    try:
        builder = datasets.load_dataset_builder(str(outline), name=subset, cache_dir=str(cache))
    except ValueError:
        if subset is None and len(names) > 1:
            return []
        raise
    files = (builder.config.data_files or {}).get(split, [])
    return [Path(file).relative_to(outline).as_posix() for file in files if Path(file).is_relative_to(outline)]
