"""The record of a run in its commit: what was trained of what, what came out, and the files of the model.

By it a job that comes later finds that its run is on the Hub already. It is believed as far as the commit holds it.
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from huggingface_hub import RepoFile
from pydantic import ValidationError

from finetune_trainer.hub.files import git_blob_id, is_as_listed
from finetune_trainer.hub.published import RecordedFile, RunRecord
from finetune_trainer.publish.branch import Target
from finetune_trainer.publish.proof import RECORD, is_foreign, is_told
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import hash_file


def record_of(report: Report, inputs: InputsManifest, files: Mapping[str, Path]) -> RunRecord:
    """Return the record of a trained model with these files."""
    return RunRecord(
        run=report.run,
        sources=inputs.sources,
        model=report.model,
        datasets=report.datasets,
        evaluations=report.evaluations,
        metrics=report.metrics,
        versions=report.versions,
        files=[_recorded(name, path) for name, path in files.items()],
    )


def read_record(target: Target, run: str, tag: str) -> tuple[str, RunRecord] | str:
    """Return the commit that a run's tag names with its record, read back and compared; or why it is not believed."""
    commit = target.commit_of(tag)
    if commit is None:
        return "it names no commit that is there"
    if target.is_of_run(commit, run) is False:
        return f"commit {commit[:12]} is not of this run"
    listed = target.files(commit)
    if RECORD not in listed:
        return f"commit {commit[:12]} holds no {RECORD}"
    record = _fetch(target, commit, listed[RECORD])
    if record is None or record.run != run:
        return f"{RECORD} of commit {commit[:12]} is broken or of another run"
    if wrong := _wrong(record.files, listed):
        return f"commit {commit[:12]} does not hold what its record says ({', '.join(wrong[:5])})"
    return commit, record


def _recorded(name: str, path: Path) -> RecordedFile:
    found = hash_file(path, relative_to=path.parent)
    return RecordedFile(path=name, sha256=found.sha256, size_bytes=found.size_bytes, blob_id=git_blob_id(path))


def _fetch(target: Target, commit: str, entry: RepoFile) -> RunRecord | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RECORD
        target.api.hf_hub_download(target.repository, RECORD, revision=commit, local_dir=folder)
        if not is_as_listed(path, entry):
            return None
        try:
            return RunRecord.model_validate_json(path.read_bytes())
        except ValidationError:
            return None


def _wrong(files: Iterable[RecordedFile], listed: Mapping[str, RepoFile]) -> list[str]:
    own = {file.path: file for file in files}
    changed = [path for path, file in own.items() if path not in listed or not _is_listed(file, listed[path])]
    strange = [path for path in listed if path not in own and not is_told(path) and not is_foreign(path)]
    return sorted([*changed, *strange])


def _is_listed(file: RecordedFile, entry: RepoFile) -> bool:
    same = entry.lfs.sha256 == file.sha256 if entry.lfs is not None else entry.blob_id == file.blob_id
    return same and entry.size == file.size_bytes
