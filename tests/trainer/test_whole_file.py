"""A power cut leaves no half of a file, and what an older release left half does not stop a run for ever."""

import os
from pathlib import Path

import pytest

from finetune_api.workspace import Workspace
from finetune_trainer.train.evaluation.baseline import read_baseline
from finetune_trainer.workspace.fence import Fence, Owner, read_owner
from finetune_trainer.workspace.finished import finished_report
from finetune_trainer.workspace.whole_file import write_whole


def test_what_was_written_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)

    write_whole(tmp_path / "train" / "report.json", "{}")

    assert done == ["fsync report.json.tmp", "rename to report.json", "fsync train"]
    assert (tmp_path / "train" / "report.json").read_text() == "{}"


@pytest.mark.parametrize("left", [b"", b'{"run": "a', b"\x00" * 40], ids=["empty", "half", "zeros"])
def test_an_empty_or_torn_file_counts_as_none(tmp_path: Path, left: bytes) -> None:
    workspace = Workspace(tmp_path)
    warnings: list[str] = []
    workspace.train.mkdir()
    for path in (workspace.owner, workspace.report, workspace.baseline):
        path.write_bytes(left)
    me = Owner(run="a", namespace="search", name="a", uid="uid-a", attempt=1)

    report = finished_report(workspace, "a", warn=warnings.append)
    baseline = read_baseline(workspace.baseline, run="a")
    with (fence := Fence(workspace, me)).held():
        fence.check()

    assert (report, baseline, warnings) == (None, None, [])
    assert read_owner(workspace) == me
