import hashlib
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from finetune_api.contract import RunConfig, RunResult, Work
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.train.gang.records import Records
from finetune_trainer.train.report.history import History
from finetune_trainer.workspace.fence import Fence, Owner
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.report import CurvePoint, Report
from tests.trainer.gang import start_gang, train_gang, train_rank
from tests.trainer.train_inputs import belong_to, prepare_pages, prepare_texts, run_config
from tests.trainer.trainers import read_checkpoint, weights_of

PATIENCE_SECONDS = 300
LAST = 8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare_pages(tmp_path_factory.mktemp("prepared"), run_config())


@pytest.fixture(scope="module")
def undisturbed(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[RunResult]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    workspace = copy_inputs(prepared, folder / "workspace")
    return workspace, train_gang(run_config(), workspace, folder / "records")


def copy_inputs(prepared: Workspace, root: Path, config: RunConfig | None = None) -> Workspace:
    """Return a workspace with the inputs of a run, by default of that of `run_config()`."""
    shutil.copytree(prepared.inputs, root / "inputs")
    if config is not None:
        belong_to(Workspace(root), config)
    return Workspace(root)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


def model_weights(folder: Path) -> dict[str, bytes]:
    from safetensors.torch import load_file

    return {name: tensor.numpy().tobytes() for name, tensor in load_file(folder / "model.safetensors").items()}


def test_two_ranks_train_to_the_end(undisturbed: tuple[Workspace, list[RunResult]]) -> None:
    workspace, results = undisturbed

    report = Report.read(workspace.report)

    assert [result.reason for result in results] == [Reason.TRAINED, Reason.TRAINED]
    assert (report.steps, report.total_steps, report.world_size) == (8, 8, 2)
    assert results[0].progress is not None
    assert results[0].progress.model_dump(exclude={"last_update_time"}) == {
        "stage": "Done",
        "step": 8,
        "total_steps": 8,
        "percent": 100,
        "epoch": 2.0,
        "eta_seconds": 0,
        "eta": "",
        "text": "",
        "dataset": "",
        "rows": 0,
        "total_rows": 0,
        "rows_per_second": None,
        "rate": "",
    }
    assert results[0].checkpoint is not None
    assert results[0].checkpoint.step == 8
    assert [point.step for point in report.curve if point.loss is not None] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [point.step for point in report.curve if point.score is not None] == [3, 6, 8]
    assert [score.metric for score in report.evaluations] == ["ndcg@10", "mrr@10", "recall@10"]
    assert [one.dimension for one in report.evaluations[0].dimensions] == [64, 32, 16]
    assert sorted(path.name for path in workspace.checkpoints.iterdir()) == ["step-000006", "step-000008"]
    assert {"Loading", "Baseline", "Training", "Evaluating", "Saving"} <= set(report.seconds)


def test_the_result_is_the_model_whose_score_is_reported(undisturbed: tuple[Workspace, list[RunResult]]) -> None:
    from sentence_transformers import SentenceTransformer

    from finetune_trainer.recipe.model.inputs import InputReader
    from finetune_trainer.train.evaluation.dataset import load_retrieval_set
    from finetune_trainer.train.evaluation.encode import Encoder
    from finetune_trainer.train.evaluation.evaluate import Evaluation, measure
    from finetune_trainer.train.evaluation.shares import Shares
    from finetune_trainer.train.gang.ranks import Ranks
    from finetune_trainer.workspace.manifest import InputsManifest

    workspace, results = undisturbed
    model = SentenceTransformer(str(workspace.model), device="cpu")
    held_out = load_retrieval_set(workspace, InputsManifest.read(workspace.manifest).evaluations[0])

    encoder = Encoder(
        model, InputReader(KeptImages(workspace.images), model.modalities), Shares(Ranks(), batch_size=16)
    )
    (measured,) = measure([Evaluation(held_out, ("ndcg@10",))], encoder)

    assert measured.scores.value == pytest.approx(results[0].evaluations[0].final, abs=1e-5)


def test_no_row_of_data_gets_into_the_model_folder(undisturbed: tuple[Workspace, list[RunResult]]) -> None:
    workspace, _ = undisturbed

    written = {path: path.read_bytes() for path in workspace.train.rglob("*") if path.is_file()}

    queries = pq.read_table(workspace.train_table("pages"))["query"].to_pylist()
    kept = KeptImages(workspace.images)
    images = [kept.read(name) for name in kept.index["name"].to_pylist()]
    data = [
        *(query.encode() for query in queries),
        *images,
        *(hashlib.sha256(one).hexdigest().encode() for one in images),
    ]
    assert [path for path, content in written.items() if any(one in content for one in data)] == []
    assert {path.suffix for path in written if path.is_relative_to(workspace.model)} == {
        ".json",
        ".jinja",
        ".safetensors",
    }
    assert len(data) > 100
    assert {path.relative_to(workspace.train).parts[0] for path in written} >= {"model", "best", "checkpoints"}


def test_a_killed_gang_resumes_to_the_very_same_weights(
    prepared: Workspace, undisturbed: tuple[Workspace, list[RunResult]], tmp_path: Path
) -> None:
    workspace = copy_inputs(prepared, tmp_path / "workspace")
    (tmp_path / "first").mkdir()
    gang = start_gang(train_rank_but_not_to_the_end, run_config(), workspace.root, tmp_path / "first")
    wait_for(workspace.checkpoints / "step-000002")
    gang.kill()
    resumed_from = max(workspace.checkpoints.glob("step-*")).name
    history = History.read(workspace.checkpoints / resumed_from / "history.json")

    results = train_gang(run_config(), workspace, tmp_path / "second", attempt=2)

    assert [result.reason for result in results] == [Reason.TRAINED, Reason.TRAINED]
    made, seconds, work = history.made, history.seconds, results[0].work
    at_last = History.read(workspace.checkpoints / f"step-{LAST:06}" / "history.json").made
    assert made.job_uid == run_config().job.uid
    assert made.useful == pytest.approx(2 * (seconds["Training"] + seconds.get("Saving", 0)))
    assert made.evaluating == pytest.approx(2 * (seconds["Baseline"] + seconds.get("Evaluating", 0)))
    assert work is not None
    assert work.resumed_seconds == int(made.useful) + int(made.evaluating)
    assert work.unsaved_seconds == 0
    assert made.useful < at_last.useful
    assert int(at_last.useful) <= work.useful_seconds
    assert resumed_from in ("step-000002", "step-000004", "step-000006")
    assert read_checkpoint(workspace.checkpoints / "step-000008") == read_checkpoint(
        undisturbed[0].checkpoints / "step-000008"
    )
    assert losses(workspace) == losses(undisturbed[0])
    assert results[0].evaluations == undisturbed[1][0].evaluations


def train_rank_but_not_to_the_end(config: RunConfig, root: Path, folder: Path) -> int:
    """Train, and stand still before the last checkpoint: a kill never comes too late."""
    from finetune_trainer.train.loop.saver import Saver

    save = Saver.save

    def save_all_but_the_last(self: Saver, step: int) -> None:
        if step == LAST:
            threading.Event().wait()
        save(self, step)

    Saver.save = save_all_but_the_last  # type: ignore[method-assign]
    return train_rank(config, root, folder)


def test_checkpoints_that_are_written_while_training_goes_on_hold_the_same(
    prepared: Workspace, undisturbed: tuple[Workspace, list[RunResult]], tmp_path: Path
) -> None:
    workspace = copy_inputs(prepared, tmp_path / "workspace")
    (tmp_path / "records").mkdir()

    start_gang(train_rank_and_save_beside, run_config(), workspace.root, tmp_path / "records").results()

    assert [record.result.reason for record in Records(tmp_path / "records").read()] == [Reason.TRAINED] * 2
    for step in (6, 8):
        name = f"step-{step:06}"
        assert read_checkpoint(workspace.checkpoints / name) == read_checkpoint(undisturbed[0].checkpoints / name)


def train_rank_and_save_beside(config: RunConfig, root: Path, folder: Path) -> int:
    """Train; save as on an accelerator."""
    from finetune_trainer.train.loop import fit
    from finetune_trainer.train.loop.saver import Saver

    def save_beside(*parts: Any, in_background: bool) -> Saver:  # noqa: ANN401
        assert not in_background
        return Saver(*parts, in_background=True)

    fit.Saver = save_beside  # type: ignore[attr-defined,assignment]
    return train_rank(config, root, folder)


def losses(workspace: Workspace) -> dict[int, float | None]:
    return {point.step: point.loss for point in Report.read(workspace.report).curve if point.loss is not None}


def test_two_ranks_resume_past_a_damaged_newest_checkpoint_to_the_very_same_weights(
    prepared: Workspace, undisturbed: tuple[Workspace, list[RunResult]], tmp_path: Path
) -> None:
    workspace = copy_inputs(prepared, tmp_path / "workspace")
    shutil.copytree(undisturbed[0].checkpoints, workspace.checkpoints)
    newest = workspace.checkpoints / "step-000008" / "__1_0.distcp"
    newest.write_bytes(newest.read_bytes()[:1000])
    (tmp_path / "records").mkdir()

    results = train_gang(run_config(), workspace, tmp_path / "records", attempt=2)

    assert [result.reason for result in results] == [Reason.TRAINED, Reason.TRAINED]
    assert "step-000008" in results[0].warnings[0]
    assert weights_of(workspace.checkpoints / "step-000008") == weights_of(undisturbed[0].checkpoints / "step-000008")


@pytest.mark.parametrize("step", [3, 6, 8], ids=["first epoch", "second epoch", "at the end"])
def test_a_gang_that_is_asked_to_end_during_an_evaluation_makes_up_for_it(
    prepared: Workspace, undisturbed: tuple[Workspace, list[RunResult]], tmp_path: Path, step: int
) -> None:
    workspace = copy_inputs(prepared, tmp_path / "workspace")
    (tmp_path / "first").mkdir()
    start_gang(train_rank_until_evaluation, step, run_config(), workspace.root, tmp_path / "first").results()
    ended = [record.result.reason for record in Records(tmp_path / "first").read()]
    saved = max(path.name for path in workspace.checkpoints.iterdir())

    results = train_gang(run_config(), workspace, tmp_path / "second", attempt=2)

    assert (ended, saved) == ([Reason.PREEMPTED] * 2, f"step-{step:06}")
    assert [result.reason for result in results] == [Reason.TRAINED] * 2
    assert results[0].evaluations == undisturbed[1][0].evaluations
    assert timeless_curve(workspace) == timeless_curve(undisturbed[0])
    assert weights_of(workspace.checkpoints / "step-000008") == weights_of(undisturbed[0].checkpoints / "step-000008")


def timeless_curve(workspace: Workspace) -> list[CurvePoint]:
    curve = Report.read(workspace.report).curve
    assert all(point.time is not None for point in curve)
    return [point.model_copy(update={"time": None}) for point in curve]


def train_rank_until_evaluation(step: int, config: RunConfig, root: Path, folder: Path) -> int:
    """Train, and get the wish to end when the evaluation after `step` begins: at one rank, the other must follow."""
    import os

    from finetune_trainer.train.evaluation.judge import Judge

    measure = Judge.measure

    def measure_and_be_asked(self: Judge, at: int) -> None:
        if at == step and os.environ["RANK"] == "1":
            self.session.stop._signalled = True
        measure(self, at)

    Judge.measure = measure_and_be_asked  # type: ignore[method-assign,assignment]
    return train_rank(config, root, folder)


def test_without_an_evaluation_set_the_last_model_is_the_result(text_model: Path, tmp_path: Path) -> None:
    config = run_config(training={"loss": {"name": "MultipleNegativesRankingLoss"}, "maxSteps": 2}, evaluation={})
    workspace = prepare_texts(tmp_path / "workspace", config, model=text_model)
    (tmp_path / "records").mkdir()

    start_gang(train_rank, config, workspace.root, tmp_path / "records", world_size=1).results()

    (record,) = Records(tmp_path / "records").read()
    assert (record.result.reason, record.result.message) == (Reason.TRAINED, "2 steps made")
    assert record.result.evaluations == []
    assert model_weights(workspace.model) == {
        name.removeprefix("0.model."): content
        for name, content in weights_of(workspace.checkpoints / "step-000002").items()
    }
    assert record.result.warnings == [
        "spec.data.train[0]: batches of 12 rows instead of 32; the set fills no larger ones"
    ]


def test_every_epoch_has_its_own_order_and_the_ranks_share_its_rows(prepared: Workspace, tmp_path: Path) -> None:
    config = run_config(training={"perDeviceTrainBatchSize": 8, "maxSteps": 8}, evaluation={"every": "100%"})
    workspace = copy_inputs(prepared, tmp_path / "workspace", config)
    (tmp_path / "records").mkdir()

    by_rank = start_gang(train_rank_and_tell_rows, config, workspace.root, tmp_path / "records").results()

    first, second = ([batches[epoch * 4 : epoch * 4 + 4] for batches in by_rank] for epoch in (0, 1))
    for epoch in (first, second):
        pages = [page for batches in epoch for batch in batches for page in batch]
        assert len(pages) == len(set(pages)) == 64
    assert first != second


def train_rank_and_tell_rows(config: RunConfig, root: Path, folder: Path) -> list[list[str]]:
    """Train; return the pages of each batch."""
    from finetune_trainer.recipe.batches.rows import RowCollator

    seen: list[list[str]] = []
    collate = RowCollator.__call__

    def collate_and_tell(self: RowCollator, features: list[dict[str, str]]) -> dict[str, Any]:
        seen.append([row["positive"] for row in features])
        return collate(self, features)

    RowCollator.__call__ = collate_and_tell  # type: ignore[method-assign]
    train_rank(config, root, folder)
    return seen


def test_a_finished_training_ends_at_once_when_it_is_started_again(
    undisturbed: tuple[Workspace, list[RunResult]], tmp_path: Path
) -> None:
    workspace, first = undisturbed
    before = workspace.report.stat().st_mtime_ns

    again = train_gang(run_config(), workspace, tmp_path / "again", attempt=2)

    own = {"attempt", "checkpoint", "progress", "work"}  # of a gang that has trained
    assert [result.model_dump(exclude=own) for result in again] == [first[0].model_dump(exclude=own)] * 2
    assert [result.work for result in again] == [Work()] * 2
    assert workspace.report.stat().st_mtime_ns == before


def test_rank_0_writes_and_the_others_their_parts_of_checkpoints(prepared: Workspace, tmp_path: Path) -> None:
    config = run_config()
    workspaces = [copy_inputs(prepared, tmp_path / name) for name in ("rank-0", "rank-1")]
    workspaces[1].train.mkdir()
    workspaces[1].checkpoints.symlink_to(workspaces[0].checkpoints)
    roots = [one.root for one in workspaces]
    (tmp_path / "records").mkdir()

    start_gang(train_in_own_workspace, config, roots, tmp_path / "records").results()

    assert [record.result.reason for record in Records(tmp_path / "records").read()] == [Reason.TRAINED] * 2
    assert Workspace(roots[0]).report.exists()
    assert sorted(path.name for path in roots[1].iterdir()) == ["inputs", "train"]
    assert [path.name for path in workspaces[1].train.iterdir()] == ["checkpoints"]
    parts = [workspaces[0].checkpoints / "step-000008" / f"__{rank}_0.distcp" for rank in (0, 1)]
    sizes = [path.stat().st_size for path in parts]
    assert max(sizes) < 0.7 * sum(sizes)


def train_in_own_workspace(config: RunConfig, roots: list[Path], folder: Path) -> int:
    import os

    return train_rank(config, roots[int(os.environ["RANK"])], folder)


def test_a_loss_that_is_no_number_stops_every_rank_and_leaves_no_model(prepared: Workspace, tmp_path: Path) -> None:
    training = {"loss": {"arguments": {"scale": 1e39}}, "perDeviceTrainBatchSize": 8, "maxSteps": 6}
    config = run_config(training=training)
    workspace = copy_inputs(prepared, tmp_path / "workspace", config)

    results = train_gang(config, workspace, tmp_path / "records")

    message = (
        "the loss or its gradient was not a number in 3 steps in a row, the last of them step 3; nothing is published"
    )
    assert [(result.reason, result.message) for result in results] == [(Reason.NON_FINITE_LOSS, message)] * 2
    assert not workspace.model.exists()
    assert not workspace.report.exists()


def test_an_older_gang_may_not_write(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy_inputs(prepared, tmp_path / "workspace")
    with Fence.of(workspace, run_config(), attempt=7).held():
        pass

    results = train_gang(run_config(), workspace, tmp_path / "records", attempt=6)

    assert {result.reason for result in results} == {Reason.PEER_LOST}
    assert not workspace.train.exists()


def test_a_gang_does_not_train_on_what_was_prepared_for_another_job(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy_inputs(prepared, tmp_path / "workspace")

    results = train_gang(run_config(uid="another", evaluation={"every": 4}), workspace, tmp_path / "records")

    assert [result.reason for result in results] == [Reason.WORKSPACE_IN_USE] * 2
    assert not workspace.train.exists()


def test_a_gang_is_refused_while_another_job_is_at_work_in_its_workspace(prepared: Workspace, tmp_path: Path) -> None:
    workspace = copy_inputs(prepared, tmp_path / "workspace")
    other = Fence(workspace, Owner(run="other", namespace="search", name="other", uid="other", attempt=1))

    with other.held():
        results = train_gang(run_config(), workspace, tmp_path / "records")
        other.check()

    assert Reason.WORKSPACE_IN_USE in {result.reason for result in results}
    assert any("used by FinetuneJob search/other" in result.message for result in results)
    assert not workspace.train.exists()
