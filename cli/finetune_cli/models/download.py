"""A finished model brought to this machine: whole and byte for byte, or not at all."""

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from finetune_api.contract import ExitCode
from finetune_api.workspace import Workspace
from finetune_cli.models.refusing import ModelError
from finetune_trainer.workspace.folder import whole_folder
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import find_damage

#: Returns the bytes of a file of the job's folder, part by part.
Read = Callable[[Path], Iterable[bytes]]
_FOLDER = Workspace(Path())


def from_volume(read: Read, target: Path, *, seen: Callable[[int, int], None] = lambda *_: None) -> int:
    """Make `target` the model that a training has left on its volume, and return its bytes.

    What it is was written down by rank 0 when the training was done, in its report: every file with size and SHA-256.
    `seen` is told how many bytes are here, of how many.

    Raises:
        ModelError: there is no finished training, or what came is not what it has written.

    """
    try:
        report = Report.model_validate_json(b"".join(read(_FOLDER.report)))
    except ValidationError as error:
        text = f"{_FOLDER.report} on the volume is no report of this release; install the finetune of the operator's"
        raise ModelError(text, ExitCode.CLUSTER_UNAVAILABLE) from error
    total = sum(file.size_bytes for file in report.files)
    here = 0
    with whole_folder(target) as aside:
        for file in report.files:
            path = aside / _inside(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as written:
                for block in read(_FOLDER.model / file.path):
                    here += written.write(block)
                    seen(here, total)
        if (damage := find_damage(aside, report.files)) is not None:
            raise ModelError(f"what came from the volume is not whole: {damage}; try again", ExitCode.STORAGE_FAULT)
    return total


def from_hub(repository: str, commit: str, target: Path) -> int:
    """Make `target` what a repository holds at a commit, and return its bytes; each file is compared with its hash."""
    # The client of the Hub takes a second, which a volume does not need.
    from finetune_cli.models.hub import asking, model_at  # noqa: PLC0415
    from finetune_trainer.prepare.fetch.snapshot import fetch_snapshot  # noqa: PLC0415

    wanted = model_at(repository, commit)
    with whole_folder(target) as aside, asking(wanted) as api:
        paths = fetch_snapshot(api, wanted, folder=aside, select=list)
        return sum((aside / path).stat().st_size for path in paths)


def _inside(path: str) -> str:
    """Return a path that stays inside the folder it is relative to; a training pod wrote it, and is not trusted."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        text = f"{_FOLDER.report} on the volume names {path!r}, which is no file of a model; look who wrote there"
        raise ModelError(text, ExitCode.STORAGE_FAULT)
    return path
