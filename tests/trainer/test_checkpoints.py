import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.train.checkpoints.best import BestModel, BestRecord
from finetune_trainer.train.checkpoints.store import CheckpointStore
from finetune_trainer.train.evaluation.measurement import Measurement, Sample, Scores
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.fence import Fence, Owner
from finetune_trainer.workspace.folder import whole_folder
from finetune_trainer.workspace.manifest import FileHash
from finetune_trainer.workspace.verify import read_manifest


def a_fence(root: Path, *, run: str = "abc", name: str = "pages", attempt: int = 1) -> Fence:
    return Fence(Workspace(root), Owner(run=run, namespace="search", name=name, uid=f"uid-{name}", attempt=attempt))


@pytest.fixture
def fence(tmp_path: Path) -> Iterator[Fence]:
    with a_fence(tmp_path).held():
        yield a_fence(tmp_path)


def open_store(
    fence: Fence, *, keep: int = 2, world_size: int = 2, warnings: list[str] | None = None
) -> CheckpointStore:
    warn = (warnings if warnings is not None else []).append
    folder = fence.workspace.checkpoints
    return CheckpointStore(folder, fence=fence, keep=keep, run="abc", world_size=world_size, warn=warn)


def fill(store: CheckpointStore, step: int) -> Path:
    with store.write(step) as folder:
        (folder / "model.safetensors").write_bytes(b"weights of step %d" % step)
        (folder / ".metadata").write_bytes(b"index")
    return store.folder / f"step-{step:06}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_checkpoint_is_found_and_older_ones_than_kept_are_gone(fence: Fence) -> None:
    store = open_store(fence, keep=2)

    for step in (2, 4, 100):
        fill(store, step)

    newest = store.newest()
    assert newest is not None
    assert (newest.path.name, newest.status.step) == ("step-000100", 100)
    assert names(store.folder) == ["step-000004", "step-000100"]
    assert names(newest.path) == [".metadata", "manifest.json", "model.safetensors"]


def test_a_training_thrown_back_by_damage_keeps_its_new_checkpoints(fence: Fence) -> None:
    """Were the damaged ones the newest, each new one would be removed until their steps are passed again."""
    store = open_store(fence, keep=2)
    for step in (200, 300):
        flip_a_bit(fill(store, step))
    assert store.newest() is None

    found = []
    for step in (50, 100, 150):
        fill(store, step)
        newest = store.newest()
        found.append((newest and newest.status.step, names(store.folder)))

    assert found == [
        (50, ["step-000050"]),
        (100, ["step-000050", "step-000100"]),
        (150, ["step-000100", "step-000150"]),
    ]


def test_only_checkpoints_that_verify_count_among_those_that_are_kept(fence: Fence) -> None:
    before = open_store(fence, keep=4)
    for step in (100, 200, 300, 400):
        fill(before, step)
    for step in (200, 300):
        flip_a_bit(before.folder / f"step-{step:06}")
    store = open_store(fence, keep=3)
    assert store.newest() is not None

    fill(store, 500)

    assert names(store.folder) == ["step-000100", "step-000400", "step-000500"]


def test_a_checkpoint_that_this_process_has_verified_is_not_read_again(
    fence: Fence, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(open_store(fence), 100)
    store = open_store(fence)
    assert store.newest() is not None
    read: list[Path] = []
    monkeypatch.setattr("finetune_trainer.train.checkpoints.store.find_damage", lambda folder, _: read.append(folder))

    for step in (200, 300):
        fill(store, step)

    assert names(store.folder) == ["step-000200", "step-000300"]
    assert read == []


def test_checkpoints_are_ordered_by_their_steps_and_not_by_their_names(fence: Fence) -> None:
    store = open_store(fence, keep=1)

    for step in (999_999, 1_000_000):
        fill(store, step)

    newest = store.newest()
    assert newest is not None
    assert newest.status.step == 1_000_000
    assert names(store.folder) == ["step-1000000"]


def test_training_that_goes_on_under_other_versions_is_told_so(fence: Fence) -> None:
    warnings: list[str] = []
    old = replace(open_store(fence), versions={"torch": "2.1", "python": "3.11", "apex": "1"})
    new = replace(open_store(fence, warnings=warnings), versions={"torch": "2.2", "python": "3.11"})
    fill(old, 2)

    newest = new.newest()

    assert newest is not None
    assert warnings == [
        "training goes on from step-000002 under other versions (apex 1 to None, torch 2.1 to 2.2); numbers may differ "
        "from those of a run under one"
    ]


def test_nothing_is_told_of_versions_that_are_the_same_or_not_known(fence: Fence) -> None:
    warnings: list[str] = []
    store = replace(open_store(fence, warnings=warnings), versions={"torch": "2.2"})
    fill(replace(store, versions={}), 2)
    assert store.newest() is not None

    fill(store, 4)

    assert store.newest() is not None
    assert warnings == []


def test_checkpoints_of_another_run_are_somebody_elses_and_stay(fence: Fence) -> None:
    fill(replace(open_store(fence), run="other"), 500)
    store = open_store(fence, keep=1)

    for step in (2, 4):
        fill(store, step)

    assert names(store.folder) == ["step-000004", "step-000500"]


def test_checkpoints_that_nobody_can_read_make_room(fence: Fence) -> None:
    store = open_store(fence)
    (fill(store, 2) / "manifest.json").write_text("{")

    fill(store, 4)

    assert names(store.folder) == ["step-000004"]


def truncate(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"weights")


def flip_a_bit(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)


def lose_a_file(checkpoint: Path) -> None:
    (checkpoint / ".metadata").unlink()


def lose_the_manifest(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").unlink()


def halve_the_manifest(checkpoint: Path) -> None:
    manifest = checkpoint / "manifest.json"
    manifest.write_text(manifest.read_text()[:50])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (truncate, "model.safetensors has 7 bytes instead of 17"),
        (flip_a_bit, "model.safetensors has changed since it was written"),
        (lose_a_file, ".metadata is missing"),
        (lose_the_manifest, "its manifest is missing or damaged"),
        (halve_the_manifest, "its manifest is missing or damaged"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(
    fence: Fence, damage: Callable[[Path], None], problem: str
) -> None:
    warnings: list[str] = []
    store = open_store(fence, warnings=warnings)
    fill(store, 2)
    damage(fill(store, 4))

    newest = store.newest()

    assert newest is not None
    assert newest.status.step == 2
    assert warnings == [f"checkpoint step-000004 was skipped: {problem}"]


def test_a_checkpoint_tells_how_many_ranks_wrote_it_and_how_many_the_training_began_with(fence: Fence) -> None:
    fill(open_store(fence, world_size=4), 2)
    began = open_store(fence, world_size=2).newest()

    fill(replace(open_store(fence, world_size=2), began_with=4), 4)
    newest = open_store(fence, world_size=1).newest()

    assert began is not None
    assert (began.world_size, began.began_with) == (4, 4)
    assert newest is not None
    assert (newest.world_size, newest.began_with) == (2, 4)


def test_a_checkpoint_of_an_earlier_version_is_skipped(fence: Fence) -> None:
    warnings: list[str] = []
    store = open_store(fence, warnings=warnings)
    with store.write(4) as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "optimizer.pt").write_bytes(b"moments")

    assert store.newest() is None
    assert warnings == [
        "checkpoint step-000004 was skipped: an earlier version of the trainer wrote it, in another form"
    ]


def test_what_is_hashed_while_it_is_written_is_not_read_again(fence: Fence) -> None:
    store = open_store(fence)
    part = FileHash(path="part", sha256="0" * 64, size_bytes=3)

    hashed: list[FileHash] = []
    with store.write(2, hashed=hashed) as folder:
        (folder / "part").write_bytes(b"abc")
        (folder / ".metadata").write_bytes(b"index")
        hashed.append(part)

    manifest = read_manifest(store.folder / "step-000002")
    assert manifest is not None
    index = FileHash(path=".metadata", sha256=hashlib.sha256(b"index").hexdigest(), size_bytes=5)
    assert manifest.files == [index, part]


def write_half(store: CheckpointStore) -> None:
    with store.write(4) as folder:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError("the disk is full")


def test_a_write_that_fails_leaves_the_older_checkpoints_and_nothing_else(fence: Fence) -> None:
    store = open_store(fence)
    fill(store, 2)

    with pytest.raises(OSError, match="full"):
        write_half(store)

    assert names(store.folder) == ["step-000002"]


def test_what_a_killed_writer_left_is_never_resumed_from_and_is_removed(fence: Fence) -> None:
    store = open_store(fence)
    fill(store, 2)
    (store.folder / ".unfinished-step-000004").mkdir()

    newest = store.newest()

    assert newest is not None
    assert newest.status.step == 2
    assert names(store.folder) == ["step-000002"]


def test_an_older_gang_that_lives_on_cannot_add_a_checkpoint(fence: Fence, tmp_path: Path) -> None:
    store = open_store(fence)
    fill(store, 2)

    ends = pytest.raises(RunFailure, match="attempt 2 writes to the workspace now; attempt 1 ends")
    with a_fence(tmp_path, attempt=2).held(), ends as caught:
        fill(store, 4)

    assert caught.value.reason is Reason.PEER_LOST
    assert names(store.folder) == ["step-000002"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with whole_folder(tmp_path / "model") as folder:
            (folder / content).write_text(content)

    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["new"]


def test_a_successor_that_begins_while_a_checkpoint_goes_to_the_disk_is_not_written_over(
    fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that a frozen node held in fsync wakes up when the next gang has long begun."""
    store, successor = open_store(fence), a_fence(tmp_path, attempt=2)
    writing = successor.whole_folder(store.folder / "step-000004")
    halves: list[Path] = []

    def wake_up_late(_: Path) -> None:
        with successor.held():
            halves.append(writing.__enter__())
            (halves[0] / "model.safetensors").write_bytes(b"half of the successor's")

    monkeypatch.setattr("finetune_trainer.workspace.folder.push_to_disk", wake_up_late)

    with pytest.raises(RunFailure, match="attempt 2 writes") as caught:
        fill(store, 4)

    assert caught.value.reason is Reason.PEER_LOST
    assert names(store.folder) == [halves[0].name]
    assert names(halves[0]) == ["model.safetensors"]


class KilledError(BaseException):
    """Ends a process where it is, as far as files can tell."""


def kill_in_rename(monkeypatch: pytest.MonkeyPatch, *, number: int) -> None:
    """Let the process be killed before the rename of that number."""
    renames = 0
    rename = Path.rename

    def rename_or_end(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == number:
            raise KilledError
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename_or_end)
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # what is dead cleans nothing up


BETWEEN_RENAMES = pytest.mark.parametrize("number", [1, 2], ids=["before the first", "between the two"])


@BETWEEN_RENAMES
def test_a_best_model_whose_replacement_was_killed_is_still_the_best(
    fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    best = BestModel(tmp_path / "best", fence=fence, run="abc")
    best.write(record_of(0.5, step=3), save=save_weights)
    with monkeypatch.context() as context:
        kill_in_rename(context, number=number)
        with pytest.raises(KilledError):
            best.write(record_of(0.6, step=6), save=save_weights)

    record = best.read()

    assert record == written(0.5, step=3)
    best.write(record_of(0.7, step=9), save=save_weights)
    assert best.read() == written(0.7, step=9)
    assert names(tmp_path) == ["best", "owner.json", "owner.lock"]


@BETWEEN_RENAMES
def test_a_checkpoint_whose_replacement_was_killed_is_resumed_from(
    fence: Fence, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = open_store(fence)
    fill(store, 2)
    with monkeypatch.context() as context:
        kill_in_rename(context, number=number)
        with pytest.raises(KilledError):
            fill(store, 2)

    newest = store.newest()

    assert newest is not None
    assert newest.status.step == 2
    assert names(store.folder) == ["step-000002"]


def record_of(value: float, *, step: int) -> BestRecord:
    scores = Scores(name="held-out", metric="ndcg@10", values={"ndcg@10": value}, dimensions={64: value})
    measurement = Measurement(scores=scores, sample=Sample(values=[value, value]))
    return BestRecord(run="abc", step=step, measurements=[measurement])


def save_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"3")


def written(value: float, *, step: int) -> BestRecord:
    """Return the record with the file that `save_weights` writes."""
    file = FileHash(path="model.safetensors", sha256=hashlib.sha256(b"3").hexdigest(), size_bytes=1)
    return record_of(value, step=step).model_copy(update={"files": [file]})


def test_a_best_model_that_has_rotted_is_not_the_best_any_more_and_told(fence: Fence, tmp_path: Path) -> None:
    warnings: list[str] = []
    best = BestModel(tmp_path / "best", fence=fence, run="abc", warn=warnings.append)
    best.write(record_of(0.5, step=3), save=save_weights)
    (tmp_path / "best" / "model.safetensors").write_bytes(b"4")

    assert best.read() is None
    assert warnings == [
        "the best model so far (step 3, ndcg@10 0.5000) is lost: model.safetensors has changed since it was written; "
        "the best one from here on takes its place"
    ]


def test_the_best_model_carries_its_scores_and_the_result_does_not(fence: Fence, tmp_path: Path) -> None:
    best = BestModel(tmp_path / "best", fence=fence, run="abc")
    best.write(record_of(0.5, step=3), save=save_weights)

    record = best.read()
    with whole_folder(tmp_path / "model") as folder:
        best.copy_into(folder)

    assert record == written(0.5, step=3)
    assert record.judged.value == 0.5
    assert names(tmp_path / "model") == ["model.safetensors"]
    assert BestModel(tmp_path / "best", fence=fence, run="other").read() is None


def test_a_best_model_that_cannot_be_written_leaves_the_one_before(fence: Fence, tmp_path: Path) -> None:
    best = BestModel(tmp_path / "best", fence=fence, run="abc")
    best.write(record_of(0.5, step=3), save=save_weights)

    def fail(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"6")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        best.write(record_of(0.6, step=6), save=fail)

    assert (tmp_path / "best" / "model.safetensors").read_bytes() == b"3"
    record = best.read()
    assert record is not None
    assert record.step == 3
