"""Opens the tables of a dataset folder with the datasets library, and says all that is wrong with them."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from finetune_api.reasons import Reason
from finetune_trainer.causes import causes, is_storage_full, one_line
from finetune_trainer.data.columns import check_key, modality_of
from finetune_trainer.data.manifest import Modality
from finetune_trainer.data.problems import InputProblem
from finetune_trainer.data.requests import TableRequest

#: What may read files: no pickles, no archives of arbitrary objects, no code.
READERS = ("parquet", "json", "csv", "imagefolder", "arrow")

_NO_ROWS = "corresponds to no data"  # the library's words for a split of no rows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenTable:
    """A table whose columns are all there and can be used."""

    request: TableRequest
    rows: Any
    """`datasets.Dataset`: the requested columns and `id_column`, images undecoded."""
    modalities: Mapping[str, Modality]
    """Part to modality, in the order of the request."""
    id_column: str | None
    """A column named id, to name rows by; None if there is none."""


def open_table(request: TableRequest, *, cache: Path) -> OpenTable | list[InputProblem]:
    """Return the table, or everything that is wrong with it."""
    problems = check_split(request, cache=cache)
    if problems:
        return problems
    try:
        rows = load_rows(request, cache=cache)
    except Exception as error:
        if is_storage_full(error):
            raise
        return [_cannot_open(request, [], error)]
    if rows is None:
        message = f"{request.field}: split {request.split!r} of dataset {request.dataset} has no rows"
        return [InputProblem(Reason.EMPTY_DATASET, message)]
    problems = check_columns(request, rows.features)
    return problems or _select(request, rows)


def check_split(request: TableRequest, *, cache: Path) -> list[InputProblem]:
    """Return what is wrong with subset, split and files; empty if they can be loaded."""
    subsets = _subsets(request.folder)
    if request.subset is not None and request.subset not in subsets:
        message = f"{request.field}.subset: {request.subset!r} is not in the dataset; it has {_names(subsets)}"
        return [InputProblem(Reason.SPLIT_NOT_FOUND, message)]
    try:
        builder = datasets.load_dataset_builder(str(request.folder), name=request.subset, cache_dir=str(cache))
    except Exception as error:  # noqa: BLE001 - the library raises what its readers raise
        return [_cannot_open(request, subsets, error)]
    splits = dict(builder.config.data_files or {})
    if request.split not in splits:
        message = f"{request.field}.split: {request.split!r} is not in the dataset; it has {_names(map(str, splits))}"
        return [InputProblem(Reason.SPLIT_NOT_FOUND, message)]
    return _check_files(request, reader=type(builder).__module__.split(".")[-2], files=splits)


def load_rows(request: TableRequest, *, cache: Path) -> Any:  # noqa: ANN401 - the library has no types
    """Return the split as `datasets.Dataset`, cut to `limit` rows; None if it has no rows."""
    with _quiet():
        try:
            rows = datasets.load_dataset(
                str(request.folder),
                name=request.subset,
                split=request.split,
                cache_dir=str(cache),
                verification_mode="no_checks",  # a card's own row counts are often out of date
            )
        except ValueError as error:
            if _NO_ROWS in str(error):
                return None
            raise
    if request.limit is not None and len(rows) > request.limit:
        rows = rows.select(range(request.limit))
    _log.info("table opened", extra={"dataset": request.dataset, "split": request.split, "rows": len(rows)})
    return rows if len(rows) else None


def check_columns(request: TableRequest, features: Mapping[str, Any]) -> list[InputProblem]:
    """Return every column that is missing or holds what cannot be used."""
    wanted = {**request.columns, **request.keys}
    missing = [column for column in dict.fromkeys(wanted.values()) if column not in features]
    problems = []
    if missing:
        message = (
            f"{request.field}: dataset {request.dataset}, split {request.split}, has no column {_names(missing)}; "
            f"it has {_names(features)} and needs {_names(wanted.values())}"
        )
        problems.append(InputProblem(Reason.COLUMN_NOT_FOUND, message))
    for part, column in wanted.items():
        if column in features:
            found = check_key(features[column]) if part in request.keys else modality_of(features[column])
            if found not in ("text", "image", None):
                message = f"{request.field}: column {column!r} of dataset {request.dataset} {found}"
                problems.append(InputProblem(Reason.INVALID_ARGUMENT, message))
    return problems


def _select(request: TableRequest, rows: Any) -> OpenTable:  # noqa: ANN401 - the library has no types
    id_column = "id" if "id" in rows.features and "id" not in request.columns.values() else None
    names = dict.fromkeys([*request.columns.values(), *request.keys.values(), *([id_column] if id_column else [])])
    rows = rows.select_columns(list(names))
    for column in set(request.columns.values()):
        if isinstance(rows.features[column], datasets.Image):
            rows = rows.cast_column(column, datasets.Image(decode=False))
    modalities: dict[str, Modality] = {
        part: "image" if modality_of(rows.features[column]) == "image" else "text"
        for part, column in request.columns.items()
    }
    return OpenTable(request=request, rows=rows, modalities=modalities, id_column=id_column)


def _subsets(folder: Path) -> list[str]:
    try:
        return list(datasets.get_dataset_config_names(str(folder)))
    except Exception:  # noqa: BLE001 - told by load_dataset_builder, which fails for the same cause
        return []


def _cannot_open(request: TableRequest, subsets: list[str], error: Exception) -> InputProblem:
    if request.subset is None and len(subsets) > 1:
        message = f"{request.field}.subset: the dataset has no default subset; name one of {_names(subsets)}"
        return InputProblem(Reason.SPLIT_NOT_FOUND, message)
    if any("scripts are no longer supported" in str(cause) for cause in causes(error)):
        message = f"{request.field}: the dataset needs code of its own, which is never run; convert it to parquet"
        return InputProblem(Reason.DATASET_NOT_FOUND, message)
    message = (
        f"{request.field}: dataset {request.dataset} cannot be read ({one_line(error)[:200]}); "
        "give parquet, JSON lines, CSV or an image folder"
    )
    return InputProblem(Reason.DATASET_NOT_FOUND, message)


def _check_files(request: TableRequest, *, reader: str, files: Mapping[Any, list[str]]) -> list[InputProblem]:
    if reader not in READERS:
        message = f"{request.field}: the dataset's files are {reader}; give parquet, JSON lines, CSV or an image folder"
        return [InputProblem(Reason.DATASET_NOT_FOUND, message)]
    root = request.folder.resolve()
    for paths in files.values():
        if not all("://" not in path and Path(path).resolve().is_relative_to(root) for path in paths):
            message = f"{request.field}: the dataset's card names files outside the dataset, which are never read"
            return [InputProblem(Reason.DATASET_NOT_FOUND, message)]
    return []


def _names(names: Any) -> str:  # noqa: ANN401 - any iterable of strings
    return ", ".join(list(names)[:20]) or "none"


@contextmanager
def _quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
