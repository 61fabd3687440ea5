"""Whose workspace it is: two jobs on one folder never take anything from each other."""

import errno
import fcntl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.workspace import fence as fences
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.fence import Fence, Owner, earlier_runs, read_owner


def fence_of(root: Path, name: str, *, attempt: int = 0) -> Fence:
    """Return the fence of the job of that name, whose run has the same."""
    return Fence(Workspace(root), Owner(run=name, namespace="search", name=name, uid=f"uid-{name}", attempt=attempt))


def make_model(workspace: Workspace, content: str) -> None:
    workspace.model.mkdir(parents=True, exist_ok=True)
    (workspace.model / "weights").write_text(content)


def model_of(workspace: Workspace) -> str:
    return (workspace.model / "weights").read_text()


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_the_file_says_which_run_and_which_gang_of_it_may_write(tmp_path: Path) -> None:
    fence = fence_of(tmp_path / "workspace", "a", attempt=3)

    with fence.held():
        fence.check()

    assert read_owner(fence.workspace) == fence.me


def test_a_second_job_is_refused_with_the_name_of_the_first_while_that_is_at_work(tmp_path: Path) -> None:
    first, second = fence_of(tmp_path, "a", attempt=1), fence_of(tmp_path, "b")
    refused = pytest.raises(RunFailure, match="the workspace is used by FinetuneJob search/a")

    with first.held():
        make_model(first.workspace, "a's")
        with refused as caught, second.held():
            pass
        first.check()

    assert caught.value.reason is Reason.WORKSPACE_IN_USE
    assert model_of(first.workspace) == "a's"


def test_a_new_job_takes_the_folder_of_an_ended_one_whatever_its_attempt_and_sets_its_model_aside(
    tmp_path: Path,
) -> None:
    with (old := fence_of(tmp_path, "a", attempt=12)).held():
        make_model(old.workspace, "a's")
    new = fence_of(tmp_path, "b", attempt=1)

    with new.held():
        make_model(new.workspace, "b's")
        new.check()

    assert read_owner(new.workspace) == new.me
    assert files(tmp_path) == [
        "earlier/a/owner.json",
        "earlier/a/train/model/weights",
        "owner.json",
        "owner.lock",
        "train/model/weights",
    ]
    assert (tmp_path / "earlier/a/train/model/weights").read_text() == "a's"
    assert earlier_runs(new.workspace) == [
        "the folder also holds an earlier run, set aside in earlier/a; it takes room until somebody removes it"
    ]


def test_a_job_whose_folder_another_one_had_in_between_goes_on_with_its_own_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with (fence := fence_of(tmp_path, name, attempt=1)).held():
            make_model(fence.workspace, f"{name}'s")

    with (again := fence_of(tmp_path, "a", attempt=2)).held():
        again.check()

    assert model_of(again.workspace) == "a's"
    assert (tmp_path / "earlier/b/train/model/weights").read_text() == "b's"


def test_a_job_that_another_one_has_taken_the_folder_from_makes_nothing_visible(tmp_path: Path) -> None:
    cut_off = fence_of(tmp_path, "a", attempt=1)
    with cut_off.held():
        pass

    with fence_of(tmp_path, "b").held(), pytest.raises(RunFailure, match="is used by FinetuneJob search/b") as caught:
        cut_off.check()

    assert caught.value.reason is Reason.WORKSPACE_IN_USE


def test_an_older_gang_cannot_take_the_workspace_back(tmp_path: Path) -> None:
    with fence_of(tmp_path, "a", attempt=2).held():
        pass

    with pytest.raises(RunFailure, match="attempt 2 writes") as caught, fence_of(tmp_path, "a", attempt=1).held():
        pass

    assert caught.value.reason is Reason.PEER_LOST


def test_preparing_and_publishing_do_not_let_an_older_gang_in_again(tmp_path: Path) -> None:
    with fence_of(tmp_path, "a", attempt=2).held():
        pass

    with fence_of(tmp_path, "a").held():
        pass

    owner = read_owner(Workspace(tmp_path))
    assert owner is not None
    assert owner.attempt == 2


def test_processes_of_one_job_do_not_shut_each_other_out(tmp_path: Path) -> None:
    """A gang begins while the pod before, on a silent node, still runs."""
    old, new = fence_of(tmp_path, "a", attempt=1), fence_of(tmp_path, "a", attempt=2)

    with old.held(), new.held():
        new.check()
        with pytest.raises(RunFailure):
            old.check()


def test_a_file_system_without_locks_goes_by_the_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with (fence := fence_of(tmp_path, "a", attempt=1)).held():
        fence.check()


class KilledError(BaseException):
    """Ends a process where it is, as far as files can tell."""


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), max_size=12))
def test_jobs_that_take_a_folder_in_turns_and_are_killed_anywhere_lose_nothing(turns: list[tuple[str, int]]) -> None:
    """Each turn is a job, and the number of the rename before which it is killed (a takeover has at most five)."""
    import tempfile

    rename = Path.rename
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root, made = Path(folder), set[str]()
        for name, dies_at in turns:
            left = [dies_at]

            def rename_or_end(self: Path, target: Path, left: list[int] = left) -> Path:
                if left[0] == 0:
                    raise KilledError
                left[0] -= 1
                return rename(self, target)

            patch.setattr(Path, "rename", rename_or_end)
            fence = fence_of(root, name)
            try:
                with fence.held():
                    left[0] = -1
                    if name in made:
                        assert model_of(fence.workspace) == name
                    make_model(fence.workspace, name)
                    made.add(name)
            except KilledError:
                pass

        found = [path.read_text() for path in root.rglob("weights")]
        assert sorted(found) == sorted(made)


def test_a_folder_of_another_run_that_is_in_the_way_is_kept_beside_it(tmp_path: Path) -> None:
    (tmp_path / "earlier/a/train").mkdir(parents=True)
    with (old := fence_of(tmp_path, "a")).held():
        make_model(old.workspace, "newer")
    (tmp_path / "earlier/a/train").mkdir(parents=True, exist_ok=True)

    with fence_of(tmp_path, "b").held():
        pass

    assert (tmp_path / "earlier/a/train-2/model/weights").read_text() == "newer"


def a_run(root: Path, run: str, *, job: str = "a", uid: str = "first", attempt: int = 0) -> Fence:
    return Fence(Workspace(root), Owner(run=run, namespace="search", name=job, uid=uid, attempt=attempt))


def test_a_job_that_was_made_again_goes_on_with_what_the_ended_one_has_left(tmp_path: Path) -> None:
    """Restored from a backup, or deleted and applied by GitOps: another uid, the same content."""
    with (old := a_run(tmp_path, "spec-data", uid="first", attempt=12)).held():
        make_model(old.workspace, "12 attempts' work")
    prepare, gang = (a_run(tmp_path, run, uid="second", attempt=n) for n, run in enumerate(("spec", "spec-data")))

    with prepare.held():
        prepare.settle("spec-data")
    with gang.held():
        gang.check()

    assert read_owner(gang.workspace) == gang.me
    assert model_of(gang.workspace) == "12 attempts' work"
    assert earlier_runs(gang.workspace) == []
    with pytest.raises(RunFailure, match="is used by FinetuneJob search/a"):
        old.check()


def test_a_job_of_the_same_content_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    first, twin = a_run(tmp_path, "spec-data", attempt=3), a_run(tmp_path, "spec", job="twin", uid="second")
    refused = pytest.raises(RunFailure, match=r"is used by FinetuneJob search/a \(run spec-data\)")

    with first.held(), refused as caught, twin.held():
        pass

    assert caught.value.reason is Reason.WORKSPACE_IN_USE


def test_what_a_spec_has_made_of_other_data_is_set_aside_and_comes_back_with_them(tmp_path: Path) -> None:
    with (old := a_run(tmp_path, "spec-monday", attempt=2)).held():
        make_model(old.workspace, "monday's")
    with (new := a_run(tmp_path, "spec")).held():
        new.settle("spec-tuesday")
        assert earlier_runs(new.workspace) != []
        make_model(new.workspace, "tuesday's")
        assert (tmp_path / "earlier/spec-monday/train/model/weights").read_text() == "monday's"

    with (again := a_run(tmp_path, "spec")).held():
        again.settle("spec-monday")

    assert model_of(again.workspace) == "monday's"
    assert (tmp_path / "earlier/spec-tuesday/train/model/weights").read_text() == "tuesday's"


def test_preparing_again_keeps_the_run_and_the_number_of_its_last_gang(tmp_path: Path) -> None:
    with (gang := a_run(tmp_path, "spec-data", attempt=5)).held():
        make_model(gang.workspace, "5 attempts' work")

    with (prepare := a_run(tmp_path, "spec")).held():
        between = read_owner(prepare.workspace)
        prepare.settle("spec-data")

    assert between == read_owner(prepare.workspace) == gang.me
    assert model_of(gang.workspace) == "5 attempts' work"


def test_a_gang_does_not_go_on_in_a_folder_that_its_job_has_for_other_data_now(tmp_path: Path) -> None:
    late = a_run(tmp_path, "spec-monday", attempt=1)
    with late.held():
        pass
    with (new := a_run(tmp_path, "spec")).held():
        new.settle("spec-tuesday")

    with pytest.raises(RunFailure, match=r"\(run spec-tuesday\)") as caught:
        late.check()

    assert caught.value.reason is Reason.WORKSPACE_IN_USE


def test_what_nobody_has_owned_is_taken_as_it_is(tmp_path: Path) -> None:
    make_model(Workspace(tmp_path), "from a backup")

    with (fence := fence_of(tmp_path, "a")).held():
        pass

    assert model_of(fence.workspace) == "from a backup"
    assert fences.earlier_runs(fence.workspace) == []
