"""Says which file of a split cannot be read, where in it and why. Asked only after the library has failed."""

import bz2
import gzip
import logging
import lzma
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from finetune_trainer.prepare.scans.arrow_files import scan_arrow, scan_parquet
from finetune_trainer.prepare.scans.csv_files import scan_csv
from finetune_trainer.prepare.scans.findings import LISTS, OBJECTS, BrokenFile, Columns, listed, words
from finetune_trainer.prepare.scans.json_files import scan_json
from finetune_trainer.prepare.scans.odd_files import Scanned, find_odd

_COMPRESSIONS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_POINTER = b"version https://git-lfs"
_METADATA = {"metadata.csv": "csv", "metadata.jsonl": "json", "metadata.parquet": "parquet"}
_FILE_NAMES = ("file_name", "file_names")

_log = logging.getLogger(__name__)

Scan = Callable[[IO[bytes]], Columns]


@dataclass(frozen=True)
class SplitFiles:
    """The files that make up a split, and how the library reads them."""

    folder: Path
    """Of the dataset: files are named from there."""
    paths: list[Path]
    reader: str
    """parquet, json, csv, arrow or imagefolder."""
    encoding: str = "utf-8"
    separator: str = ","

    def name_of(self, path: Path) -> str:
        """Return a file as messages name it."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name


class NoRows(Exception):  # noqa: N818 - an outcome, as BrokenFile
    """The files are whole, and none has a row."""


def find_fault(files: SplitFiles) -> str | None:
    """Return the first broken file, what is wrong with it and what to do; None if no fault is found.

    Raises NoRows if there is nothing in any of them.
    """
    _log.info("looking for the broken file", extra={"files": len(files.paths)})
    scanned: list[Scanned] = []
    for path in files.paths:
        name = files.name_of(path)
        try:
            with closing(_open(path)) as found:
                for inner, stream in found:
                    name = f"{files.name_of(path)}{inner}"
                    if scan := _scan_of(files, Path(name).name):
                        scanned.append((name, scan(stream) if _has_content(stream) else Columns()))
        except BrokenFile as fault:
            return _told(name, fault)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
            return _told(name, BrokenFile(f"it cannot be read ({words(error)})", "copy or write it anew"))
    if scanned and not any(columns.rows for _, columns in scanned):
        raise NoRows
    odd = find_odd(scanned, reader=files.reader)
    return _told(*odd) if odd else None


def _told(name: str, fault: BrokenFile) -> str:
    where = f", {fault.where}" if fault.where else ""
    return f"{name}{where}: {fault.because}; {fault.remedy}"


def _open(path: Path) -> Generator[tuple[str, IO[bytes]]]:
    """Yield what a file holds, and its name in an archive."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if not member.endswith("/"):
                    with archive.open(member) as stream:
                        yield f"/{member}", stream
    else:
        with _COMPRESSIONS.get(path.suffix, open)(path, "rb") as stream:
            yield "", stream


def _scan_of(files: SplitFiles, name: str) -> Scan | None:
    """Return what looks through the file; of a folder of images only the tables beside them are."""
    reader = _METADATA.get(name) if files.reader == "imagefolder" else files.reader
    scans: dict[str | None, Scan] = {
        "parquet": scan_parquet,
        "arrow": scan_arrow,
        "json": partial(scan_json, encoding=files.encoding),
        "csv": partial(scan_csv, encoding=files.encoding, separator=files.separator),
    }
    scan = scans.get(reader)
    return partial(_scan_metadata, scan=scan) if scan and files.reader == "imagefolder" else scan


def _has_content(stream: IO[bytes]) -> bool:
    """Say whether a file is not empty; refuses what stands for a file that was not fetched."""
    head = stream.read(len(_POINTER))
    if head == _POINTER:
        raise BrokenFile("it is a pointer of Git LFS, not the file", "fetch the file with `git lfs pull`, then copy it")
    stream.seek(0)
    return head != b""


def _scan_metadata(stream: IO[bytes], *, scan: Scan) -> Columns:
    columns = scan(stream)
    nested = any(kind in (LISTS, OBJECTS) or "<" in kind for kind in columns.kinds.values())
    if columns.rows and not nested and not any(column.endswith(_FILE_NAMES) for column in columns.kinds):
        message = f"no column names the images; it has {listed([*columns.kinds])}"
        raise BrokenFile(message, "name the image of each row in a column file_name")
    return columns
