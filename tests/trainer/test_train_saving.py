"""Checkpoints are written beside training, by every rank its part, and are whole or not there."""

import errno
import functools
import os
import signal
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetune_api.contract import RunConfig
from finetune_api.reasons import Reason
from finetune_api.status import CheckpointStatus
from finetune_api.workspace import Workspace
from finetune_trainer.train.checkpoints import parts, store
from finetune_trainer.train.checkpoints.parts import own_part
from finetune_trainer.train.checkpoints.store import CheckpointStore
from finetune_trainer.train.gang.errors import explain
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.gang.records import Records
from finetune_trainer.train.loop import saver as saver_module
from finetune_trainer.train.loop.saver import Saver
from finetune_trainer.train.report.history import History, Made
from finetune_trainer.train.report.tracker import Tracker
from finetune_trainer.workspace import folder as folders
from finetune_trainer.workspace.fence import Fence, Owner
from tests.trainer.gang import start_gang, train_rank
from tests.trainer.train_inputs import prepare_pages, run_config
from tests.trainer.trainers import read_checkpoint


class FakeTrainer:
    """Something that changes: a weight for each rank, and all that the optimizer remembers of them."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.tensors = {f"weights.{number}": torch.zeros(1000) for number in range(4)}

    def part(self) -> dict[str, torch.Tensor]:
        return own_part(self.tensors, rank=self.ranks.rank, world_size=self.ranks.world_size)

    def files(self) -> dict[str, bytes]:
        return {"schedule.pt": b"schedule"}

    def step(self) -> None:
        for one in self.tensors.values():
            one.add_(1)


def open_saver(
    root: Path, ranks: Ranks | None = None, *, in_background: bool = True
) -> tuple[Saver, FakeTrainer, CheckpointStore, Tracker]:
    ranks = ranks or Ranks()
    fence = Fence(Workspace(root), Owner(run="abc", namespace="search", name="pages", uid="uid", attempt=1))
    opened = CheckpointStore(root / "checkpoints", fence=fence, keep=2, run="abc", world_size=ranks.world_size)
    tracker, trainer = Tracker(attempt=1), FakeTrainer(ranks)
    session: Any = SimpleNamespace(tracker=tracker, ranks=ranks)
    saver = Saver(session, trainer, opened, in_background=in_background)  # type: ignore[arg-type]
    return saver, trainer, opened, tracker


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with Fence(Workspace(tmp_path), Owner(run="abc", namespace="search", name="pages", uid="uid", attempt=1)).held():
        yield tmp_path


def values(checkpoint: Path) -> set[float]:
    return {value for one in read_checkpoint(checkpoint).values() for value in array("f", one)}


def test_training_goes_on_while_a_checkpoint_is_written_which_tells_how_long_both_took(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, trainer, opened, tracker = open_saver(root)
    trained_on = threading.Event()
    push = folders.push_to_disk

    def push_late(folder: Path) -> None:
        assert trained_on.wait(60)
        push(folder)

    monkeypatch.setattr(folders, "push_to_disk", push_late)

    saver.save(7)
    trainer.step()
    before = tracker.checkpoint
    trained_on.set()
    saver.finish()

    assert before is None
    assert tracker.checkpoint is not None
    assert tracker.checkpoint.step == 7
    assert 0 <= (tracker.checkpoint.pause_seconds or 0) <= (tracker.checkpoint.save_seconds or 0)
    assert values(opened.folder / "step-000007") == {0.0}


def test_what_is_not_saved_in_the_background_is_on_the_volume_at_once(root: Path) -> None:
    saver, _, opened, tracker = open_saver(root, in_background=False)
    tracker.history.made = Made(useful=12.5)

    saver.save(7)

    work = tracker.read().work
    assert tracker.checkpoint is not None
    assert work is not None
    assert work.useful_seconds == 12
    assert tracker.checkpoint.pause_seconds == tracker.checkpoint.save_seconds
    assert values(opened.folder / "step-000007") == {0.0}


def test_the_next_checkpoint_waits_for_the_one_before(root: Path) -> None:
    saver, trainer, opened, _ = open_saver(root)

    with saver:
        for step in (1, 2, 3):
            trainer.step()
            saver.save(step)

    assert {path.name: values(path) for path in opened.folder.iterdir()} == {
        "step-000002": {2.0},
        "step-000003": {3.0},
    }


def train_until_it_fails(saver: Saver) -> None:
    with saver:
        saver.save(1)
        raise ValueError("a batch was wrong")


def test_a_training_that_fails_leaves_the_checkpoint_that_was_being_written(root: Path) -> None:
    saver, _, opened, _ = open_saver(root)

    with pytest.raises(ValueError, match="a batch was wrong"):
        train_until_it_fails(saver)

    assert [path.name for path in opened.folder.iterdir()] == ["step-000001"]


def test_a_training_that_fails_tells_its_own_failure_and_not_that_of_the_checkpoint(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saver, _, _, _ = open_saver(root)
    monkeypatch.setattr(parts._HashedFile, "write", refuse)

    with pytest.raises(ValueError, match="a batch was wrong"):
        train_until_it_fails(saver)

    assert [record.message for record in caplog.records if record.name == saver_module.__name__] == [
        "checkpoint failed"
    ]


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, _, opened, tracker = open_saver(root)
    done: list[str] = []
    fsync, rename, told = os.fsync, Path.rename, tracker.saved

    def note_fsync(descriptor: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return rename(self, target)

    def note_told(checkpoint: CheckpointStatus, history: History) -> None:
        done.append("told")
        told(checkpoint, history)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    monkeypatch.setattr(tracker, "saved", note_told)

    with saver:
        saver.save(7)

    named = done.index("rename to step-000007")
    files = {path.name for path in (opened.folder / "step-000007").iterdir()}
    assert files == {".metadata", "__0_0.distcp", "history.json", "manifest.json", "schedule.pt"}
    assert {f"fsync {name}" for name in (*files, opened.aside(7).name)} <= set(done[:named])
    assert done[named:] == ["rename to step-000007", "fsync checkpoints", "told"]


def refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_volume_is_told_at_the_next_step_and_leaves_the_checkpoint_before(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, _, opened, tracker = open_saver(root)
    with saver:
        saver.save(1)
    monkeypatch.setattr(parts._HashedFile, "write", refuse)

    saver.save(2)
    assert saver._writing is not None
    saver._writing.exception()  # waits
    failed_before = saver.has_failed
    with pytest.raises(OSError, match="No space left") as caught:
        saver.finish()

    assert failed_before
    assert explain(caught.value).reason is Reason.STORAGE_FULL
    assert not saver.has_failed
    assert [path.name for path in opened.folder.iterdir()] == ["step-000001"]
    assert tracker.checkpoint is not None
    assert tracker.checkpoint.step == 1


def be_killed(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


#: By what a rank is about to do when it is killed: which rank, and the function of that.
STAGES: dict[str, tuple[int, Any, str]] = {
    "making the folder": (0, CheckpointStore, "write"),
    "writing its part": (1, parts._HashedFile, "write"),
    "writing the first part": (0, parts._HashedFile, "write"),
    "writing the index": (0, parts._PartWriter, "finish"),
    "hashing the rest": (0, store, "hash_files"),
    "pushing it to the disk": (0, folders, "push_to_disk"),
    "renaming it": (0, folders, "replace"),
}


def save_and_be_killed(root: Path, stage: str) -> None:
    """Write one checkpoint, and be killed in the next."""
    from finetune_trainer.train.gang.ranks import join

    ranks = join(run_config())
    saver, trainer, _, _ = open_saver(root, ranks)
    with saver:
        trainer.step()
        saver.save(1)
    rank, owner, name = STAGES[stage]
    if ranks.rank == rank:
        setattr(owner, name, be_killed)
    with saver:
        trainer.step()
        saver.save(2)


@pytest.mark.training
@pytest.mark.parametrize("stage", STAGES)
def test_a_rank_that_is_killed_at_any_point_of_a_checkpoint_leaves_the_one_before(root: Path, stage: str) -> None:
    with pytest.raises(AssertionError, match="ended without an answer"):
        start_gang(save_and_be_killed, root, stage).results()

    _, _, opened, _ = open_saver(root, Ranks(world_size=2))
    newest = opened.newest()

    assert newest is not None
    assert [path.name for path in opened.folder.iterdir()] == ["step-000001"]
    assert values(newest.path) == {1.0}


def train_rank_onto_a_full_volume(config: RunConfig, root: Path, folder: Path) -> int:
    """Train; the volume is full when rank 1 writes its part of the second checkpoint."""
    write_data = parts._PartWriter.write_data

    def write_until_full(self: parts._PartWriter, plan: Any, planner: Any) -> Any:  # noqa: ANN401
        if os.environ["RANK"] == "1" and "step-000004" in str(self.path):
            refuse()
        return write_data(self, plan, planner)

    parts._PartWriter.write_data = write_until_full  # type: ignore[method-assign]
    return train_rank(config, root, folder)


@pytest.mark.training
def test_a_volume_that_one_rank_finds_full_ends_all_of_them_and_is_told_as_such(tmp_path: Path) -> None:
    config = run_config(evaluation={"every": "100%"})
    workspace = prepare_pages(tmp_path / "workspace", config)
    (tmp_path / "records").mkdir()

    start_gang(train_rank_onto_a_full_volume, config, workspace.root, tmp_path / "records").results()

    ended = [record.result for record in Records(tmp_path / "records").read()]
    assert [one.reason for one in ended] == [Reason.STORAGE_FULL] * 2
    assert [path.name for path in workspace.checkpoints.iterdir()] == ["step-000002"]


def train_by_the_clock(config: RunConfig, root: Path, folder: Path) -> list[int]:
    """Train; a step takes four minutes by the writer's clock and no time by that of others. Return what was saved."""
    from finetune_trainer.train.loop import fit
    from finetune_trainer.train.loop.timer import CheckpointTimer
    from finetune_trainer.train.loop.trainer import GangTrainer

    minutes, saved = [0.0], []
    make, save = GangTrainer.training_step, Saver.save

    def take_minutes(self: GangTrainer, *given: Any, **more: Any) -> Any:  # noqa: ANN401
        minutes[0] += 4.0 if os.environ["RANK"] == "0" else 0.0
        return make(self, *given, **more)

    def save_at_once(self: Saver, step: int) -> None:
        saved.append(step)
        save(self, step)
        self.finish()

    GangTrainer.training_step = take_minutes  # type: ignore[method-assign]
    Saver.save = save_at_once  # type: ignore[method-assign]
    by_writer = functools.partial(CheckpointTimer, clock=lambda: 60.0 * minutes[0])
    fit.CheckpointTimer = by_writer  # type: ignore[attr-defined,assignment]
    train_rank(config, root, folder)
    return saved


@pytest.mark.training
def test_all_ranks_save_when_the_clock_of_the_writer_says_so(tmp_path: Path) -> None:
    config = run_config(evaluation={"every": "100%"}, checkpoint={"everyMinutes": 15, "keep": 100})
    workspace = prepare_pages(tmp_path / "workspace", config)
    (tmp_path / "records").mkdir()

    saved = start_gang(train_by_the_clock, config, workspace.root, tmp_path / "records").results()

    assert saved == [[2, 6, 8]] * 2
    assert [record.result.reason for record in Records(tmp_path / "records").read()] == [Reason.TRAINED] * 2
