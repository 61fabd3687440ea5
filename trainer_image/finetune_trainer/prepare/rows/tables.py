"""Opens the tables of a dataset folder with the datasets library, and says all that is wrong with them."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import Any

import datasets

from finetune_api.reasons import Reason
from finetune_api.splits import split_names
from finetune_trainer.prepare.rows.columns import (
    Content,
    check_key,
    content_of,
    describe,
    holds_numbers,
    may_be_text,
    undecoded,
)
from finetune_trainer.prepare.rows.labels import check_label
from finetune_trainer.prepare.rows.requests import DOCUMENTS, QUERY, TableRequest
from finetune_trainer.prepare.rows.slices import Cut, beyond, cut
from finetune_trainer.prepare.rows.streamed import ParquetSplit, StreamedRows, look_at
from finetune_trainer.prepare.scans.broken_files import find_fault
from finetune_trainer.prepare.scans.csv_files import SEPARATORS
from finetune_trainer.prepare.scans.findings import excerpt
from finetune_trainer.prepare.scans.unreadable import (
    CARD,
    explain_layout,
    explain_rows,
    files_of,
    mixed_formats,
    no_files,
    no_rows,
    reader_of,
    unlisted_file,
    unreadable,
)
from finetune_trainer.workspace.causes import is_storage_full
from finetune_trainer.workspace.manifest import Modality
from finetune_trainer.workspace.problems import InputProblem

#: What may read files: no pickles, no archives of arbitrary objects, no code.
READERS = ("parquet", "json", "csv", "imagefolder", "arrow")
_ROW_FILES = ("parquet", "json", "csv", "arrow")  # a folder of images numbers its classes over all splits

#: What pandas makes of the first fields of rows that have more of them than the header.
_CSV_INDEX = "__index_level_0__"
_NO_ROWS = "corresponds to no data"  # the library's words for a split of no rows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenTable:
    """A table whose columns are all there and can be used."""

    request: TableRequest
    rows: Any
    """`datasets.Dataset` or `StreamedRows`: the requested columns and `id_column`, images undecoded."""
    numbers: Sequence[int]
    """Position of each row in its split, from 0."""
    modalities: Mapping[str, Modality]
    """Part to modality, in the order of the request."""
    many: frozenset[str]
    """Parts whose cells are lists."""
    labels_many: bool
    """Whether a label is a list."""
    id_column: str | None
    """A column named id, to name rows by; None if there is none."""
    unused: Mapping[str, Any]
    """The types of the dataset's other columns."""
    notices: tuple[str, ...] = ()
    """What deserves a look."""
    left_out: frozenset[bytes] = frozenset()
    """Texts and images that are not read where they are negatives or candidates, by `rows.key_of`."""

    @property
    def where(self) -> str:
        """Return field and dataset, as messages start: `spec.data.train[0]: dataset pages`."""
        return f"{self.request.field}: dataset {self.request.dataset}"

    def take(self, indices: Sequence[int]) -> "OpenTable":
        """Return the table with those of its rows alone, in this order."""
        if len(indices) == len(self.numbers):
            return self  # reading selected rows is slower
        return replace(self, rows=self.rows.select(indices), numbers=[self.numbers[index] for index in indices])


def open_table(request: TableRequest, *, cache: Path) -> OpenTable | list[InputProblem]:
    """Return the table, or everything that is wrong with it."""
    builder = find_split(request, cache=cache)
    if isinstance(builder, list):
        return builder
    try:
        wholes = load_splits(request, builder, cache=cache)
        found = cut_rows(request, wholes)
        if isinstance(found, Cut):
            _check_read(request, found.rows, builder)
    except Exception as error:
        if is_storage_full(error):
            raise
        return [explain_rows(request, builder, error)]
    if not isinstance(found, Cut):
        return [found]
    notices = tuple(f"{request.field}.split: {note}" for note in beyond(request.split, wholes))
    problems = check_columns(request, found)
    return problems or replace(_select(request, found), notices=notices)


def reopen_table(table: OpenTable, request: TableRequest) -> OpenTable | list[InputProblem]:
    """Return the rows of an open table for another use of its columns, or what is wrong with them."""
    found = Cut(table.rows, table.numbers)
    return check_columns(request, found) or _select(request, found)


def find_split(request: TableRequest, *, cache: Path) -> Any | list[InputProblem]:  # noqa: ANN401 - no types there
    """Return the library's builder of the split, or what is wrong with subset, split and files."""
    if has_magic(str(request.folder)):
        message = (
            f"{request.field}: dataset {request.dataset} lies in {request.folder}, and the datasets library takes *, ? "
            "and [ ] in the name of a folder for a pattern; name a workspace and folders of claims without them"
        )
        return [InputProblem(Reason.DATASET_NOT_FOUND, message)]
    subsets = _subsets(request.folder)
    if request.subset is not None and request.subset not in subsets:
        message = f"{request.field}.subset: {request.subset!r} is not in the dataset; it has {_names(subsets)}"
        return [InputProblem(Reason.SPLIT_NOT_FOUND, message)]
    try:
        # The library takes what is built of one split for all of them.
        names = split_names(request.split)
        own = cache / hashlib.sha256("+".join(names).encode()).hexdigest()[:8]
        builder = datasets.load_dataset_builder(str(request.folder), name=request.subset, cache_dir=str(own))
    except Exception as error:  # noqa: BLE001 - the library raises what its readers raise
        return [explain_layout(request, subsets, error)]
    splits = dict(builder.config.data_files or {})
    if missing := [name for name in names if name not in splits]:
        message = f"{request.field}.split: {missing[0]!r} is not in the dataset; it has {_names(map(str, splits))}"
        message += unlisted_file(request, missing[0])
        return [InputProblem(Reason.SPLIT_NOT_FOUND, message)]
    reader = reader_of(builder)
    if because := mixed_formats(request, reader, [path for name in names for path in splits[name]]):
        return [unreadable(request, because)]
    if reader in _ROW_FILES:
        # Splits may have columns of their own, and those that are not asked for need no space.
        builder.config.data_files = type(builder.config.data_files)({name: splits[name] for name in names})
    return _check_files(request, reader=reader, files=splits) or builder


def load_splits(request: TableRequest, builder: Any, *, cache: Path) -> dict[str, Any]:  # noqa: ANN401 - no types there
    """Return each split that the request names, whole, as `datasets.Dataset` or as what stands in for one."""
    names = split_names(request.split)
    if reader_of(builder) == "parquet" and "+" not in request.split:
        paths = [Path(path) for path in builder.config.data_files[names[0]]]
        if split := look_at(paths, builder.info.features):
            return {names[0]: _streamed(request, builder, split, cache=cache)}
    return _built(builder, names)


def _built(builder: Any, names: Iterable[str]) -> dict[str, Any]:  # noqa: ANN401 - as above
    with _quiet():
        # A card's own row counts are often out of date.
        builder.download_and_prepare(verification_mode="no_checks")
        return {name: _whole(builder, name) for name in names}


def _streamed(request: TableRequest, builder: Any, split: ParquetSplit, *, cache: Path) -> StreamedRows:  # noqa: ANN401
    """Return a split whose images stay in its files; the library reads the other columns that are asked for."""
    (name,), wanted = split_names(request.split), {*request.names().values(), "id"}
    names = [column for column in split.features if column in wanted and column not in split.images]
    others = None
    if names:
        # The library takes what is built of some columns for all of them.
        own = cache / hashlib.sha256("\n".join([name, *names]).encode()).hexdigest()[:8]
        narrow = datasets.load_dataset_builder(
            str(request.folder), name=request.subset, cache_dir=str(own), columns=names
        )
        narrow.config.data_files = builder.config.data_files
        others = _built(narrow, [name])[name]
    return StreamedRows(split, others, split.features, range(split.num_rows), partial(explain_rows, request, builder))


def _whole(builder: Any, split: str) -> Any:  # noqa: ANN401 - as above
    try:
        return builder.as_dataset(split=split)
    except ValueError as error:
        if _NO_ROWS in str(error):
            return datasets.Dataset.from_dict({})
        raise


def cut_rows(request: TableRequest, wholes: Mapping[str, Any]) -> Cut | InputProblem:
    """Return the rows that the request names, cut to `limit`, or why there are none."""
    try:
        found = cut(request.split, wholes)
    except ValueError as error:
        message = (
            f"{request.field}.split: {request.split!r} is wrong because {str(error).rstrip('.')}; change the slice"
        )
        return InputProblem(Reason.INVALID_ARGUMENT, message)
    if found is None:
        return no_rows(request, {name: len(rows) for name, rows in wholes.items()})
    if request.limit is not None and len(found.rows) > request.limit:
        found = Cut(found.rows.select(range(request.limit)), found.numbers[: request.limit])
    _log.info("table opened", extra={"dataset": request.dataset, "split": request.split, "rows": len(found.rows)})
    return found


def _check_read(request: TableRequest, rows: Any, builder: Any) -> None:  # noqa: ANN401 - the library has no types
    """Refuse what the library lets pass: texts that are not UTF-8, and columns that are shifted by one."""
    if reader_of(builder) == "csv" and _CSV_INDEX in rows.features and find_fault(files_of(request, builder)):
        raise ValueError("rows have more fields than the header")
    if isinstance(rows, StreamedRows):
        rows = rows.others
    for column in set(request.names().values()) & set(rows.features if rows else ()):
        rows.data.column(column).validate(full=True)


def check_columns(request: TableRequest, found: Cut) -> list[InputProblem]:
    """Return every column that is missing or holds what cannot be used."""
    features, wanted = found.rows.features, request.names()
    missing = [column for column in dict.fromkeys(wanted.values()) if column not in features]
    problems = []
    if missing:
        message = (
            f"{request.field}: dataset {request.dataset}, split {request.split}, has no column {_names(missing)}; "
            f"it has {_names(features)} and needs {_names(wanted.values())}{_separator_hint(features)}"
        )
        problems.append(InputProblem(Reason.COLUMN_NOT_FOUND, message))
    for part, column in wanted.items():
        if column in features and (because := _misfit(request, part, features[column])):
            message = f"{request.field}: column {column!r} of dataset {request.dataset} {because}"
            if part in request.columns and column not in request.texts and may_be_text(features[column]):
                message += f"{_first_number(found, column)}; {request.declaring('texts')} to take its numbers as texts"
            problems.append(InputProblem(Reason.INVALID_ARGUMENT, message))
    return problems


def _separator_hint(columns: Iterable[str]) -> str:
    """Return what to do where one column has the names of several, as of a CSV file with another separator."""
    (only, *others) = columns
    other = next((one for one in SEPARATORS if one in only), None)
    return f"; separate fields by ',', not by {other!r}" if other and not others else ""


def check_documents(table: OpenTable) -> list[InputProblem]:
    """Return what is wrong if documents are partly text, partly images; one corpus has one modality."""
    found = {part: modality for part, modality in table.modalities.items() if part != QUERY}
    if len(set(found.values())) == 1:
        return []
    told = ", ".join(f"{table.request.columns[part]} ({modality})" for part, modality in found.items())
    message = f"{table.request.field}.columns: documents must be all text or all images, but they are {told}"
    return [InputProblem(Reason.INVALID_ARGUMENT, message)]


def _misfit(request: TableRequest, part: str, feature: Any) -> str | None:  # noqa: ANN401 - features share no base
    """Return why the column cannot play its part, None if it can."""
    if part in request.keys:
        return check_key(feature)
    if part not in request.columns:
        return check_label(feature, request.label.label) if request.label else None
    content = _content(request, part, feature)
    if isinstance(content, str):
        return content
    if content.many and part not in request.lists:
        return "holds lists; a list is never trained on as it is, expand it into columns, one value each"
    if part == DOCUMENTS and not content.many:
        return f"holds {describe(feature)}; lists of texts or images are needed"
    return None


def _first_number(found: Cut, column: str) -> str:
    """Return where the first value that is no text stands, nothing where all are numbers."""
    if any(holds_numbers(found.rows.features[column])):
        return ""
    for number, cell in zip(found.numbers, found.rows.select_columns([column])[column], strict=True):
        for value in cell if isinstance(cell, list) else [cell]:
            if not isinstance(value, str | None):
                return f" (row {number}: {excerpt(str(value))})"
    return ""


def _content(request: TableRequest, part: str, feature: Any) -> Content | str:  # noqa: ANN401 - as above
    column = request.columns[part]
    return content_of(feature, by_name=column in request.images, as_text=column in request.texts)


def _select(request: TableRequest, found: Cut) -> OpenTable:
    rows = found.rows
    names = dict.fromkeys(request.names().values())
    id_column = "id" if "id" in rows.features and "id" not in names else None
    unused = {name: feature for name, feature in rows.features.items() if name not in names}
    rows = rows.select_columns([*names, *([id_column] if id_column else [])])
    with _quiet():
        for column in set(request.columns.values()):
            if (stored := undecoded(rows.features[column])) != rows.features[column]:
                rows = rows.cast_column(column, stored)
    contents = {part: _content(request, part, rows.features[column]) for part, column in request.columns.items()}
    usable = {part: content for part, content in contents.items() if isinstance(content, Content)}
    return OpenTable(
        request=request,
        rows=rows,
        numbers=found.numbers,
        modalities={part: content.modality for part, content in usable.items()},
        many=frozenset(part for part, content in usable.items() if content.many),
        labels_many=request.label is not None and holds_numbers(rows.features[request.label.column])[1],
        id_column=id_column,
        unused=unused,
    )


def _subsets(folder: Path) -> list[str]:
    try:
        return list(datasets.get_dataset_config_names(str(folder)))
    except Exception:  # noqa: BLE001 - told by load_dataset_builder, which fails for the same cause
        return []


def _check_files(request: TableRequest, *, reader: str, files: Mapping[Any, list[str]]) -> list[InputProblem]:
    if reader not in READERS:
        return [no_files(request, (Path(path) for paths in files.values() for path in paths))]
    root = request.folder.resolve()
    for paths in files.values():
        if not all("://" not in path and Path(path).resolve().is_relative_to(root) for path in paths):
            because = f"{CARD} names files outside the dataset, which are never read; correct its data_files"
            return [unreadable(request, because)]
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
