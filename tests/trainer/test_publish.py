"""publish: gate, one commit, one tag, and nothing twice."""

import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from finetune_api.contract import ExitCode
from finetune_api.reasons import Reason
from finetune_api.status import PublishedStatus
from finetune_trainer.hub.client import connect
from finetune_trainer.publish import commit as hub_commit
from finetune_trainer.publish.publish import publish
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.fence import Fence, Owner
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import hash_files
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run
from tests.trainer.publishing import REPOSITORY, finished_run, make_run_in, scores


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_commit, "PAUSES", (0.0, 0.0))


@pytest.fixture
def run(make_run: MakeRun, small_model: Path, hub: RunningHub) -> Run:
    return finished_run(make_run, small_model).at(hub.endpoint).with_token(write=hub.write_token)


MODEL_PATHS = [
    "1_Pooling/config.json",
    "README.md",
    "config.json",
    "finetunejob.json",
    "model.safetensors",
    "modules.json",
    "tokenizer.json",
]


def told(run: Run) -> list[str]:
    """Return what is published of the run besides the model, its card and its record."""
    ended = int(run.workspace.report.stat().st_mtime)
    names = (f"events.out.tfevents.{ended}", "loss.png", "score.png", "dimensions.png")
    return [f"runs/{run.id}/{name}" for name in names]


CARD = b"---\nlicense: mit\n---\n# Mine\n"


def paths(hub: RunningHub) -> list[str]:
    """Return the files of the newest commit."""
    return sorted(hub.commits(REPOSITORY)["commits"][0]["files"])


def fill(hub: RunningHub) -> None:
    """Put content of someone's into the repository."""
    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo(REPOSITORY)
    api.upload_file(repo_id=REPOSITORY, path_in_repo="README.md", path_or_fileobj=CARD)


def history(hub: RunningHub) -> list[str]:
    """Return the titles of the commits, newest first."""
    return [commit["title"] for commit in hub.commits(REPOSITORY)["commits"]]


def test_a_better_model_is_published_in_one_tagged_commit(run: Run, hub: RunningHub) -> None:
    result = publish(run.config, run.settings)

    repository = hub.commits(REPOSITORY)
    commit = repository["branches"]["main"]
    tag = f"finetunejob-{run.id}"
    url = f"{hub.endpoint}/{REPOSITORY}/commit/{commit}"
    expected = PublishedStatus(repository=REPOSITORY, commit=commit, tag=tag, url=url)
    assert (result.reason, result.published) == (Reason.PUBLISHED, expected)
    assert repository["tags"] == {tag: commit}
    assert history(hub) == ["Finetune with FinetuneJob search/pages", "initial commit"]
    assert repository["commits"][0]["description"].splitlines() == [
        f"FinetuneJob-Run: {run.id}",
        f"FinetuneJob-Uid: {run.config.job.uid}",
    ]
    assert paths(hub) == sorted([".gitattributes", *MODEL_PATHS, *told(run)])
    assert result.evaluations == scores()
    assert result.warnings == []
    assert PublishedStatus.model_validate_json(run.workspace.receipt.read_bytes()) == expected


def test_a_model_that_did_not_improve_enough_is_not_published(
    make_run: MakeRun, small_model: Path, hub: RunningHub
) -> None:
    before_after = scores(baseline=0.80, final=0.81)
    run = finished_run(make_run, small_model, evaluations=before_after, gate={"minImprovement": 0.02}).at(hub.endpoint)

    result = publish(run.config, run.settings)

    assert result.reason is Reason.GATE_NOT_MET
    assert result.message == (
        "publish.gate: ndcg@10 on held-out went from 0.8000 to 0.8100, an improvement of +0.0100 where 0.02 is asked "
        "for; nothing is published"
    )
    assert result.published is None
    assert result.evaluations == before_after
    assert hub.calls() == []


@pytest.mark.parametrize("final", [0.7, 0.8])
def test_a_model_that_is_not_better_is_published_only_if_that_is_asked_for(
    make_run: MakeRun, small_model: Path, hub: RunningHub, tmp_path: Path, final: float
) -> None:
    measured = scores(baseline=0.8, final=final)
    gated = finished_run(make_run, small_model, evaluations=measured).at(hub.endpoint)
    anyway = finished_run(make_run_in(tmp_path / "anyway"), small_model, evaluations=measured, always=True)

    refused = publish(gated.config, gated.settings)
    asked = hub.calls()
    published = publish(anyway.config, anyway.at(hub.endpoint).with_token(write=hub.write_token).settings)

    assert (refused.reason, asked) == (Reason.GATE_NOT_MET, [])
    assert "where more than 0 is asked for; nothing is published" in refused.message
    assert published.reason is Reason.PUBLISHED
    card = (anyway.workspace.receipt.with_name("README.md")).read_text()
    assert f"to **{final:.4f}** ({final - 0.8:+.3f}). This is not better than the base model." in card


@pytest.mark.parametrize("policy", [{}, {"gate": {"minImprovement": -1}}, {"always": True}])
def test_a_model_that_did_not_change_is_never_published(
    make_run: MakeRun, small_model: Path, hub: RunningHub, policy: dict[str, Any]
) -> None:
    run = finished_run(make_run, small_model, **policy).at(hub.endpoint).with_token(write=hub.write_token)
    shutil.copy(small_model / "model.safetensors", run.workspace.base_model)

    result = publish(run.config, run.settings)

    assert (result.reason, result.message) == (
        Reason.MODEL_UNCHANGED,
        "train/model holds the very weights of the base model: training has changed nothing, or nothing for the "
        "better; nothing is published",
    )
    assert result.published is None
    assert hub.calls() == []


def test_without_a_baseline_a_model_is_published_as_asked(
    make_run: MakeRun, small_model: Path, hub: RunningHub
) -> None:
    run = finished_run(make_run, small_model, evaluations=[], sections={"evaluation": {"baseline": False}})

    result = publish(run.config, run.at(hub.endpoint).with_token(write=hub.write_token).settings)

    assert result.reason is Reason.PUBLISHED


def test_an_improvement_of_just_the_required_size_is_published(
    make_run: MakeRun, small_model: Path, hub: RunningHub
) -> None:
    run = finished_run(make_run, small_model, evaluations=scores(baseline=0.7, final=0.9), gate={"minImprovement": 0.2})

    result = publish(run.config, run.at(hub.endpoint).with_token(write=hub.write_token).settings)

    assert result.reason is Reason.PUBLISHED


def test_a_second_run_finds_the_tag_and_commits_nothing(run: Run, hub: RunningHub) -> None:
    first = publish(run.config, run.settings)
    run.workspace.receipt.unlink()

    second = publish(run.config, run.settings)

    assert (second.reason, second.published) == (Reason.ALREADY_PUBLISHED, first.published)
    assert len(history(hub)) == 2
    assert run.workspace.receipt.exists()


def test_a_lost_answer_to_the_commit_makes_no_second_commit(run: Run, hub: RunningHub) -> None:
    hub.fail("lose-answer", method="POST", path="/commit/main")

    result = publish(run.config, run.settings)

    assert result.reason is Reason.PUBLISHED
    assert history(hub) == ["Finetune with FinetuneJob search/pages", "initial commit"]
    assert result.published is not None
    assert hub.commits(REPOSITORY)["tags"] == {result.published.tag: result.published.commit}


def test_a_run_stopped_between_commit_and_tag_is_finished_without_a_second_commit(run: Run, hub: RunningHub) -> None:
    hub.fail({"status": 503}, method="POST", path="/tag/", times=None)
    with pytest.raises(RunFailure) as stopped:
        publish(run.config, run.settings)
    hub.clear()
    (run.workspace.receipt.with_name("README.md")).unlink()

    result = publish(run.config, run.settings)

    assert stopped.value.reason is Reason.HUB_UNAVAILABLE
    assert result.reason is Reason.PUBLISHED
    assert history(hub) == ["Finetune with FinetuneJob search/pages", "initial commit"]
    assert list(hub.commits(REPOSITORY)["tags"]) == [f"finetunejob-{run.id}"]


def test_a_commit_of_someone_else_meanwhile_stays_and_ours_goes_on_top(
    run: Run, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"LICENSE": b"MIT", "adapter_config.json": b"{}"}
    overtake(hub, theirs, monkeypatch)

    result = publish(run.config, run.settings)

    newest, before, _ = hub.commits(REPOSITORY)["commits"]
    assert (newest["title"], before["title"]) == ("Finetune with FinetuneJob search/pages", "Theirs")
    assert set(before["files"]) == {".gitattributes", *theirs}
    assert sorted(newest["files"]) == sorted([".gitattributes", "LICENSE", *MODEL_PATHS, *told(run)])
    assert result.reason is Reason.PUBLISHED
    assert result.warnings == [
        "1 file of an earlier model was removed: adapter_config.json",
        "another commit came in while publishing; this run's commit is on top of it",
    ]


def overtake(hub: RunningHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have someone commit `files` once the head was read, before this run's commit is sent."""
    upload = HfApi.preupload_lfs_files
    api = connect(hub.endpoint, token=hub.write_token)

    def overtaken(self: HfApi, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        monkeypatch.setattr(HfApi, "preupload_lfs_files", upload)
        additions = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=content) for path, content in files.items()]
        api.create_commit(REPOSITORY, operations=additions, commit_message="Theirs")
        upload(self, *arguments, **more)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", overtaken)


def test_endless_conflicts_end_as_a_conflict(run: Run, hub: RunningHub) -> None:
    hub.fail({"status": 412}, method="POST", path="/commit/main", times=None)

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.PUBLISH_CONFLICT
    assert failure.value.message == (
        "publish.repository: demo/finetuned, branch main: other commits keep coming in (Fault on demand); "
        "wait until they end"
    )
    assert history(hub) == ["initial commit"]


@pytest.mark.parametrize("action", ["cut", {"status": 503}, {"status": 500}])
def test_a_commit_that_fails_once_is_sent_again(run: Run, hub: RunningHub, action: object) -> None:
    hub.fail(action, method="POST", path="/commit/main")  # type: ignore[arg-type]

    result = publish(run.config, run.settings)

    assert result.reason is Reason.PUBLISHED
    assert len(history(hub)) == 2


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between the tries; it goes on at once."""
    seconds: list[float] = []
    monkeypatch.setattr(hub_commit, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "7"}, 55),
        ({"RateLimit": '"api";r=12;t=55'}, 0),
        ({"Retry-After": "soon"}, 0),
        ({}, 0),
    ],
    ids=["seconds", "reset", "requests left", "no time", "nothing"],
)
def test_a_hub_that_has_had_enough_is_left_alone_for_as_long_as_it_asks(
    run: Run, hub: RunningHub, waits: list[float], headers: dict[str, str], expected: float
) -> None:
    hub.fail({"status": 429, "headers": headers}, method="POST", path="/commit/main")

    result = publish(run.config, run.settings)

    assert result.reason is Reason.PUBLISHED
    assert waits == [expected]
    assert len(history(hub)) == 2


def test_a_hub_may_name_the_moment_from_which_it_answers_again(run: Run, hub: RunningHub, waits: list[float]) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=280), usegmt=True)
    hub.fail({"status": 429, "headers": {"Retry-After": moment}}, method="POST", path="/commit/main")

    result = publish(run.config, run.settings)

    assert result.reason is Reason.PUBLISHED
    assert len(waits) == 1
    assert 0 < waits[0] <= 280


def test_a_hub_that_asks_for_an_hour_is_tried_again_by_the_next_container(
    run: Run, hub: RunningHub, waits: list[float]
) -> None:
    hub.fail({"status": 429, "headers": {"Retry-After": "3600"}, "message": "Slow down"}, path="/commit/main")

    with pytest.raises(RunFailure, match="Slow down") as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
    assert waits == []


def test_a_hub_that_stays_down_is_told_as_such(run: Run, hub: RunningHub) -> None:
    hub.fail("cut", method="POST", path="/commit/main", times=None)

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
    assert failure.value.exit_code is ExitCode.HUB_UNAVAILABLE
    # Whether a cut is seen as a reset or as an end is up to the kernel's moment.
    before, _, after = failure.value.message.partition("(")
    assert (before, after.partition(")")[2]) == (
        "publish.repository: demo/finetuned, branch main: the Hub did not answer as it should ",
        "; wait until it answers",
    )


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize(
    ("path", "lacking"),
    [("/auth-check", ()), ("/repos/create", ()), ("/preupload/", ("authCheck",))],
    ids=["auth-check", "create", "preupload"],
)
def test_a_hub_that_fails_while_it_is_asked_what_the_token_may_do_is_told_as_such(
    run: Run, hub: RunningHub, path: str, lacking: Sequence[str], status: int
) -> None:
    if path != "/repos/create":
        fill(hub)
    hub.features(**dict.fromkeys(lacking, False))
    hub.fail({"status": status}, path=path, times=None)

    with pytest.raises(RunFailure, match="the Hub did not answer as it should") as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE


def test_what_loading_the_model_would_read_of_an_earlier_one_is_removed_and_the_rest_stays(
    run: Run, hub: RunningHub
) -> None:
    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo(REPOSITORY)
    others = ["LICENSE", "onnx/model.onnx", "notes.md", ".gitignore", "runs/earlier/events.out.tfevents.1"]
    for name in (
        "model.bin",
        "2_Dense/config.json",
        "adapter_config.json",
        "README.md",
        f"runs/{run.id}/old.png",
        *others,
    ):
        api.upload_file(
            repo_id=REPOSITORY, path_in_repo=name, path_or_fileobj=CARD if name == "README.md" else b"*.json\n"
        )

    result = publish(run.config, run.settings)

    assert paths(hub) == sorted([".gitattributes", *others, *MODEL_PATHS, *told(run)])
    assert result.warnings == [
        "4 files of an earlier model were removed: 2_Dense/config.json, adapter_config.json, model.bin, "
        f"runs/{run.id}/old.png",
        "2 files stay that are no part of this model: notes.md, onnx/model.onnx; remove them if they are of another",
    ]


def test_a_repository_with_content_is_left_alone_if_asked(
    make_run: MakeRun, small_model: Path, hub: RunningHub
) -> None:
    fill(hub)
    run = finished_run(make_run, small_model, ifExists="Skip").at(hub.endpoint).with_token(write=hub.write_token)

    result = publish(run.config, run.settings)

    assert result.reason is Reason.PUBLISH_SKIPPED
    assert paths(hub) == [".gitattributes", "README.md"]


def test_content_that_appeared_after_preflight_fails_if_asked(
    make_run: MakeRun, small_model: Path, hub: RunningHub
) -> None:
    fill(hub)
    run = finished_run(make_run, small_model, ifExists="Fail").at(hub.endpoint).with_token(write=hub.write_token)

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.REPOSITORY_EXISTS
    assert paths(hub) == [".gitattributes", "README.md"]


def test_a_branch_that_is_missing_is_made(make_run: MakeRun, small_model: Path, hub: RunningHub) -> None:
    run = finished_run(make_run, small_model, branch="vdr").at(hub.endpoint).with_token(write=hub.write_token)

    result = publish(run.config, run.settings)

    branches = hub.commits(REPOSITORY)["branches"]
    assert result.published is not None
    assert branches["vdr"] == result.published.commit
    assert branches["main"] != branches["vdr"]


def test_a_hub_without_optional_calls_gets_the_model_all_the_same(run: Run, hub: RunningHub) -> None:
    features = ("whoami", "settings", "validateYaml", "authCheck", "tags", "refs", "commits")
    hub.features(**dict.fromkeys(features, False))

    first, second = publish(run.config, run.settings), publish(run.config, run.settings)

    assert first.reason is Reason.PUBLISHED
    assert first.published is not None
    assert first.published.tag is None
    assert first.warnings == ["the Hub has no tags: a repeated run finds the commit by its message"]
    assert second.published == first.published
    assert len(history(hub)) == 2


def test_what_is_no_part_of_a_model_stays_on_the_volume(run: Run, hub: RunningHub) -> None:
    for name in ("training_args.bin", "notes.py", ".env"):
        (run.workspace.model / name).write_text("secret")

    result = publish(run.config, run.settings)

    assert paths(hub) == sorted([".gitattributes", *MODEL_PATHS, *told(run)])
    assert result.warnings == [
        "3 files of train/model are no part of a model and stay there: .env, notes.py, training_args.bin"
    ]


def test_a_token_in_a_file_of_the_model_is_never_published(run: Run, hub: RunningHub) -> None:
    (run.workspace.model / "config.json").write_text(json.dumps({"token": "hf_" + "a" * 34}))

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.TRAINER_ERROR
    assert "a" * 34 not in failure.value.message
    assert hub.calls() == []


def test_half_a_model_is_never_published(run: Run, hub: RunningHub) -> None:
    weights = run.workspace.model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.TRAINER_ERROR
    assert hub.calls() == []


def test_a_report_of_another_run_is_refused(run: Run, hub: RunningHub) -> None:
    report = json.loads(run.workspace.report.read_bytes())
    run.workspace.report.write_text(json.dumps(report | {"run": "0" * 12}))

    with pytest.raises(RunFailure, match="of run 000000000000"):
        publish(run.config, run.settings)


def test_a_model_that_has_changed_since_it_was_trained_is_not_published(run: Run, hub: RunningHub) -> None:
    report = Report.read(run.workspace.report)
    report.model_copy(update={"files": hash_files(run.workspace.model)}).write(run.workspace.report)
    (run.workspace.model / "config.json").write_text("{}")
    hub.clear()

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert (failure.value.reason, failure.value.message) == (
        Reason.TRAINER_ERROR,
        "train/model/config.json has 2 bytes instead of 23; set spec.rerun to a new text to train on from the newest "
        "checkpoint",
    )
    assert hub.calls() == []


def test_curves_that_are_written_otherwise_the_next_time_make_no_second_commit(run: Run, hub: RunningHub) -> None:
    publish(run.config, run.settings)
    os.utime(run.workspace.report, (7, 7))

    again = publish(run.config, run.settings)

    assert (again.reason, len(history(hub))) == (Reason.ALREADY_PUBLISHED, 2)


def test_a_card_is_not_written_from_the_inputs_of_another_run(run: Run, hub: RunningHub) -> None:
    manifest = InputsManifest.read(run.workspace.manifest)
    manifest.model_copy(update={"spec_hash": "0" * 12, "run": "0" * 12}).write(run.workspace.manifest)

    with pytest.raises(RunFailure, match="is of run 000000000000, not of") as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.WORKSPACE_IN_USE


def test_nothing_is_published_from_a_folder_in_which_another_job_is_at_work(run: Run, hub: RunningHub) -> None:
    other = Fence(run.workspace, Owner(run="other", namespace="search", name="other", uid="other", attempt=1))
    hub.clear()

    with other.held(), pytest.raises(RunFailure, match="used by FinetuneJob search/other") as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.WORKSPACE_IN_USE
    assert hub.calls() == []


def test_a_read_token_is_refused_by_name(make_run: MakeRun, small_model: Path, hub: RunningHub) -> None:
    run = finished_run(make_run, small_model).at(hub.endpoint).with_token(write=hub.read_token)

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.WRITE_FORBIDDEN
    assert hub.read_token not in failure.value.message
