"""Why a dataset could not be opened, in words that name the file and say what to do."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

import yaml
from datasets.exceptions import DataFilesNotFoundError

from finetune_api.reasons import Reason
from finetune_trainer.prepare.rows.requests import TableRequest
from finetune_trainer.prepare.scans.broken_files import NoRows, SplitFiles, find_fault
from finetune_trainer.prepare.scans.findings import listed, words
from finetune_trainer.workspace.causes import causes
from finetune_trainer.workspace.problems import InputProblem

#: Readers by how names of files end.
_ROWS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
}
_FORMATS = "give parquet, JSON lines, CSV or an image folder"
CARD = "README.md"
_FEATURES = re.compile(r"^(- )? *features:", re.MULTILINE)  # types that the card declares


_log = logging.getLogger(__name__)


def explain_layout(request: TableRequest, subsets: Sequence[str], error: Exception) -> InputProblem:
    """Say why the library found no files to read: they, or the card, are not what they should be."""
    found = list(causes(error))
    if request.subset is None and len(subsets) > 1:
        message = f"{request.field}.subset: the dataset has no default subset; name one of {', '.join(subsets[:20])}"
        return InputProblem(Reason.SPLIT_NOT_FOUND, message)
    if any("scripts are no longer supported" in str(cause) for cause in found):
        message = f"{request.field}: the dataset needs code of its own, which is never run; convert it to parquet"
        return InputProblem(Reason.DATASET_NOT_FOUND, message)
    paths = [path for path in request.folder.rglob("*") if path.is_file()]
    if not paths or any(isinstance(cause, DataFilesNotFoundError) for cause in found):
        return no_files(request, paths)
    archives = SplitFiles(request.folder, sorted(path for path in paths if path.suffix == ".zip"), reader="")
    if because := _card_fault(request, found) or find_fault(archives):
        return unreadable(request, because)
    return InputProblem(
        Reason.DATASET_NOT_FOUND,
        f"{request.field}: dataset {request.dataset} cannot be read ({_words(found[-1], request)}); {_FORMATS}",
    )


def _card_fault(request: TableRequest, found: Sequence[BaseException]) -> str | None:
    if any(isinstance(cause, yaml.YAMLError) for cause in found):
        return f"{CARD}: its head is no valid YAML ({_words(found[-1], request)}); mend or delete it"
    lacking = next((str(cause) for cause in found if isinstance(cause, FileNotFoundError)), "")
    if lacking.startswith("Unable to find "):
        name = lacking.split("'")[1].removeprefix(f"{request.folder}/")
        return f"{CARD} names {name}, which is no file of rows in the dataset; correct its data_files"
    return None


def explain_rows(request: TableRequest, builder: Any, error: Exception) -> InputProblem:  # noqa: ANN401 - untyped
    """Say which file the rows could not be read from, and why."""
    files = files_of(request, builder)
    try:
        fault = find_fault(files)
    except NoRows:
        return no_rows(request)
    except Exception:  # noqa: BLE001 - a scan that fails must not hide what the library said
        _log.exception("no fault found")
        fault = None
    return unreadable(request, fault or _unknown(files, _words([*causes(error)][-1], request)))


def unlisted_file(request: TableRequest, split: str) -> str:
    """Return how a file of the split's name becomes a table, nothing where there is none: BEIR has such files."""
    names = sorted(path.name for path in request.folder.rglob(f"{escape(split)}.*") if path.suffix in _ROWS)
    if not names:
        return ""
    return (
        f"; for {names[0]} to be a table of its own, name it as data_files of a config in {CARD} and give the config "
        "here as subset (docs/data.md)"
    )


def mixed_formats(request: TableRequest, reader: str, paths: Sequence[str]) -> str | None:
    """Return that a split has files of another format than its reader's: the library has one for all of a dataset."""
    foreign = [path for path in paths if _ROWS.get(Path(path).suffix, reader) != reader]
    if reader not in _ROWS.values() or not foreign:
        return None
    found = {path.suffix for path in request.folder.rglob("*") if path.suffix in _ROWS}
    name = Path(foreign[0]).name
    return f"its files have several formats, {listed(sorted(found))}; {name} would be read as {reader}; give all as one"


def no_files(request: TableRequest, paths: Iterable[Path]) -> InputProblem:
    """Say that what a dataset holds are no rows."""
    names = sorted({path.name for path in paths})
    what = f"files as {listed(names)} are no rows that can be read" if names else "the dataset has no files"
    return InputProblem(Reason.DATASET_NOT_FOUND, f"{request.field}: {what}; {_FORMATS}")


def no_rows(request: TableRequest, sizes: Mapping[str, int] | None = None) -> InputProblem:
    """Say that a split is empty, or that a slice of splits of these sizes is."""
    message = f"{request.field}: split {request.split!r} of dataset {request.dataset} has no rows"
    if found := ", ".join(f"{name} has {size}" for name, size in (sizes or {}).items() if size):
        message += f"; {found}"
    return InputProblem(Reason.EMPTY_DATASET, message)


def files_of(request: TableRequest, builder: Any) -> SplitFiles:  # noqa: ANN401 - as above
    """Return the files that a builder reads."""
    config = builder.config
    return SplitFiles(
        folder=request.folder,
        paths=[Path(path) for paths in config.data_files.values() for path in paths],
        reader=reader_of(builder),
        encoding=getattr(config, "encoding", None) or "utf-8",
        separator=getattr(config, "delimiter", None) or getattr(config, "sep", None) or ",",
    )


def reader_of(builder: Any) -> str:  # noqa: ANN401 - as above
    """Return how the library reads the files: parquet, json, csv and so on."""
    return str(type(builder).__module__.split(".")[-2])


def _unknown(files: SplitFiles, words: str) -> str:
    card = files.folder / CARD
    if card.is_file() and _FEATURES.search(card.read_text(encoding="utf-8", errors="replace")):
        return f"{CARD}: its features do not fit the files ({words}); correct or delete them"
    if files.reader == "imagefolder":
        return f"the folder of images cannot be read ({words}); mend it, or give parquet"
    remedy = "write it anew" if files.reader == "parquet" else "give it as parquet, where each column has a type"
    return f"{listed([files.name_of(path) for path in files.paths])} cannot be read ({words}); {remedy}"


def unreadable(request: TableRequest, because: str) -> InputProblem:
    """Say what keeps a dataset from being read: file, cause, remedy."""
    return InputProblem(Reason.UNREADABLE_DATASET, f"{request.field}: dataset {request.dataset}: {because}")


def _words(error: BaseException, request: TableRequest) -> str:
    """Return an error in one line, without where datasets are kept."""
    return words(error).replace(f"{request.folder}/", "").replace(str(request.folder), "the dataset")
