"""publish at a Hub whose answers are not true: what ends as published was read back, whatever was answered."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from finetune_api.contract import RunResult
from finetune_api.reasons import Reason
from finetune_trainer.hub.client import connect
from finetune_trainer.publish import commit as hub_commit
from finetune_trainer.publish.preflight import preflight
from finetune_trainer.publish.publish import publish
from finetune_trainer.workspace.failures import RunFailure
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run
from tests.trainer.publishing import (
    REPOSITORY,
    finished_run,
    make_run_in,
    scores,
    with_if_exists,
    write_manifest,
    write_report,
)

NOWHERE = "f" * 40
CARD = b"---\nlicense: mit\n---\n# Theirs\n"
UNTAGGED = "the Hub does not keep tag {tag} on this commit: a repeated run finds the commit by its message"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_commit, "PAUSES", (0.0, 0.0))


@pytest.fixture
def run(make_run: MakeRun, small_model: Path, hub: RunningHub) -> Run:
    return finished_run(make_run, small_model).at(hub.endpoint).with_token(write=hub.write_token)


@pytest.fixture
def theirs(hub: RunningHub) -> str:
    """A commit of someone else in the repository that the job publishes to."""
    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo(REPOSITORY)
    return api.upload_file(repo_id=REPOSITORY, path_in_repo="README.md", path_or_fileobj=CARD).oid


def tag_of(run: Run) -> str:
    return f"finetunejob-{run.id}"


def assert_published(result: RunResult, run: Run, hub: RunningHub) -> None:
    """Look into the Hub itself: the commit that the result names is the branch's newest and holds the model."""
    repository = hub.commits(REPOSITORY)
    assert result.reason is Reason.PUBLISHED
    assert result.published is not None
    assert repository["branches"]["main"] == result.published.commit
    (files,) = [one["files"] for one in repository["commits"] if one["oid"] == result.published.commit]
    model = {path.relative_to(run.workspace.model).as_posix(): path for path in run.workspace.model.rglob("*.*")}
    assert {name: files[name]["sha256"] for name in model} == {
        name: sha256(path.read_bytes()).hexdigest() for name, path in model.items()
    }


def with_policy(run: Run, policy: str) -> Run:
    """Return the run with another `publish.ifExists`, trained."""
    run = with_if_exists(run, policy)
    write_manifest(run, {})
    write_report(run, scores())
    return run


def own_commits(hub: RunningHub) -> list[str]:
    commits = hub.commits(REPOSITORY)["commits"]
    return [one["oid"] for one in commits if one["title"].startswith("Finetune with FinetuneJob")]


@pytest.mark.parametrize("sha", ["", None, "main", "abc123", NOWHERE, "theirs"])
def test_a_tag_that_the_hub_only_says_to_have_is_not_taken_for_published(
    run: Run, hub: RunningHub, theirs: str, sha: str | None
) -> None:
    answer = {"id": REPOSITORY, "sha": theirs if sha == "theirs" else sha}
    hub.fail({"claim": answer}, path="/revision/finetunejob-", times=None)

    result = publish(run.config, run.settings)

    assert_published(result, run, hub)
    assert result.published is not None
    assert result.published.tag is None
    assert UNTAGGED.format(tag=tag_of(run)) in result.warnings


@pytest.mark.parametrize(
    ("sha", "message"),
    [
        ("", "the Hub names no commit of demo/finetuned, branch main, which has files"),
        (NOWHERE, "the Hub does not find what demo/finetuned has to have"),
    ],
)
def test_a_hub_that_knows_every_revision_gets_nothing(run: Run, hub: RunningHub, sha: str, message: str) -> None:
    hub.fail({"claim": {"id": REPOSITORY, "sha": sha}}, path="/revision/", times=None)

    with pytest.raises(RunFailure, match=message) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
    assert own_commits(hub) == []


def test_a_tag_on_a_commit_of_someone_else_is_moved_to_the_model(run: Run, hub: RunningHub, theirs: str) -> None:
    connect(hub.endpoint, token=hub.write_token).create_tag(REPOSITORY, tag=tag_of(run), revision=theirs)

    result = publish(run.config, run.settings)

    assert_published(result, run, hub)
    assert result.published is not None
    assert hub.commits(REPOSITORY)["tags"] == {tag_of(run): result.published.commit}


def test_another_model_under_the_tag_of_this_run_is_not_what_was_published(run: Run, hub: RunningHub) -> None:
    publish(run.config, run.settings)
    (run.workspace.model / "config.json").write_text('{"trained": "again"}')

    result = publish(run.config, run.settings)

    assert_published(result, run, hub)
    assert result.published is not None
    assert hub.commits(REPOSITORY)["tags"] == {tag_of(run): result.published.commit}


def test_the_same_weights_of_another_run_are_not_published_by_this_one(
    run: Run, hub: RunningHub, small_model: Path, tmp_path: Path
) -> None:
    other = finished_run(make_run_in(tmp_path / "other"), small_model, sections={"training": {"seed": 7}})
    other = other.at(hub.endpoint).with_token(write=hub.write_token)
    before = publish(other.config, other.settings).published
    assert before is not None
    connect(hub.endpoint, token=hub.write_token).create_tag(REPOSITORY, tag=tag_of(run), revision=before.commit)

    result = publish(run.config, run.settings)

    assert_published(result, run, hub)
    assert result.published is not None
    assert result.published.commit != before.commit
    assert hub.commits(REPOSITORY)["tags"] == {tag_of(other): before.commit, tag_of(run): result.published.commit}


def test_a_commit_that_is_not_there_is_not_believed_even_with_a_log_and_all_files(run: Run, hub: RunningHub) -> None:
    published = publish(run.config, run.settings).published
    assert published is not None
    path = f"{hub.endpoint}/api/models/{REPOSITORY}"
    answers = {what: get(f"{path}/{what}/{published.commit}?recursive=true", hub) for what in ("tree", "commits")}
    answers["commits"][0]["id"] = NOWHERE
    hub.fail({"claim": {"id": REPOSITORY, "sha": NOWHERE}}, path="/revision/finetunejob-", times=None)
    for what, answer in answers.items():
        hub.fail({"claim": answer}, path=f"/{what}/{NOWHERE}", times=None)

    result = publish(run.config, run.settings)

    assert_published(result, run, hub)


def get(url: str, hub: RunningHub) -> Any:  # noqa: ANN401 - JSON
    """Return what the Hub answers to its owner."""
    with urlopen(Request(url, headers={"Authorization": f"Bearer {hub.write_token}"}), timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("oid", ["", None, "main", NOWHERE, "theirs"])
def test_a_commit_that_was_only_answered_is_not_published(
    run: Run, hub: RunningHub, theirs: str, oid: str | None
) -> None:
    answer = {"commitOid": theirs if oid == "theirs" else oid, "commitUrl": f"{hub.endpoint}/{REPOSITORY}/commit/0"}
    hub.fail({"claim": answer}, method="POST", path="/commit/main", times=None)

    with pytest.raises(RunFailure, match=r"the Hub answered that demo/finetuned@.* was made, and it") as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
    assert own_commits(hub) == []
    assert hub.commits(REPOSITORY)["tags"] == {}
    assert not run.workspace.receipt.exists()


@pytest.mark.parametrize("oid", ["", None, NOWHERE, "theirs"])
def test_a_commit_that_was_made_is_found_whatever_was_answered(
    run: Run, hub: RunningHub, theirs: str, oid: str | None
) -> None:
    hub.fail({"amend": {"commitOid": theirs if oid == "theirs" else oid}}, method="POST", path="/commit/main")

    result = publish(run.config, run.settings)

    assert_published(result, run, hub)
    assert len(own_commits(hub)) == 1


@pytest.mark.parametrize("listed", [[], [{"type": "file", "path": "config.json", "size": 1, "oid": "0" * 40}]])
def test_a_commit_without_the_files_that_were_sent_is_not_published(
    run: Run, hub: RunningHub, listed: list[dict[str, Any]]
) -> None:
    hub.fail({"claim": listed}, path="/tree/", times=None)

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
    assert not run.workspace.receipt.exists()


@pytest.mark.parametrize("path", ["/models/demo/finetuned$", "/revision/main", "/tree/", "/commits/"])
@pytest.mark.parametrize("answer", [{"ok": True}, [{"type": "file"}], "ok", None])
def test_answers_without_their_fields_are_told_as_such_and_never_as_published(
    run: Run, hub: RunningHub, theirs: str, path: str, answer: object
) -> None:
    hub.fail({"claim": answer}, method="GET", path=path, times=None)

    with pytest.raises(RunFailure, match=r"answer is not what|does not hold what was sent") as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
    assert not run.workspace.receipt.exists()


def test_a_log_with_a_commit_that_is_not_there_does_not_stop_publishing(run: Run, hub: RunningHub, theirs: str) -> None:
    trailer = f"FinetuneJob-Run: {run.id}"
    entry = {"id": NOWHERE, "title": "t", "message": trailer, "date": "2026-01-01T00:00:00.000Z", "authors": []}
    hub.fail({"claim": [entry]}, path="/commits/", times=None)

    result = publish(run.config, run.settings)

    assert_published(result, run, hub)


def test_a_tag_that_was_only_answered_is_not_in_the_status(run: Run, hub: RunningHub) -> None:
    hub.fail({"claim": "OK"}, method="POST", path="/tag/", times=None)

    first, second = publish(run.config, run.settings), publish(run.config, run.settings)

    assert_published(first, run, hub)
    assert first.published is not None
    assert first.published.tag is None
    assert first.warnings == [UNTAGGED.format(tag=tag_of(run))]
    assert second.published == first.published
    assert len(own_commits(hub)) == 1


def test_a_branch_that_was_only_answered_gets_no_commit(
    make_run: MakeRun, small_model: Path, hub: RunningHub, theirs: str
) -> None:
    run = finished_run(make_run, small_model, branch="vdr").at(hub.endpoint).with_token(write=hub.write_token)
    hub.fail({"claim": "OK"}, method="POST", path="/branch/", times=None)

    with pytest.raises(RunFailure, match="does not find what demo/finetuned has to have") as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
    assert own_commits(hub) == []


def test_a_repository_without_any_commit_gets_its_first(run: Run, hub: RunningHub) -> None:
    connect(hub.endpoint, token=hub.write_token).create_repo(REPOSITORY)
    hub.fail({"claim": {"id": REPOSITORY, "sha": None}}, path="/revision/main", times=3)
    hub.fail({"claim": []}, path="/tree/main")

    result = publish(run.config, run.settings)

    assert_published(result, run, hub)
    assert len(own_commits(hub)) == 1


def test_a_branch_that_stands_for_another_one_is_found_out_by_its_commit(
    make_run: MakeRun, small_model: Path, hub: RunningHub, theirs: str
) -> None:
    run = finished_run(make_run, small_model, branch="vdr").at(hub.endpoint).with_token(write=hub.write_token)
    hub.fail({"claim": {"id": REPOSITORY, "sha": theirs}}, path="/revision/vdr", times=None)

    with pytest.raises(RunFailure, match="does not find what demo/finetuned has to have") as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is Reason.HUB_UNAVAILABLE
    assert own_commits(hub) == []


@pytest.mark.parametrize(
    ("call", "reason"),
    [("/api/repos/create", Reason.HUB_UNAVAILABLE), ("/models/demo/finetuned$", Reason.WRITE_FORBIDDEN)],
)
def test_a_repository_that_was_only_answered_is_told(run: Run, hub: RunningHub, call: str, reason: Reason) -> None:
    answer = {"id": REPOSITORY, "sha": NOWHERE, "url": f"{hub.endpoint}/{REPOSITORY}"}
    hub.fail({"claim": answer}, path=call, times=None)

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert failure.value.reason is reason
    assert "demo/finetuned" in failure.value.message


@pytest.mark.parametrize("sha", ["", NOWHERE, "theirs"])
def test_an_occupied_repository_is_not_taken_for_this_runs_by_a_tag_alone(
    make_run: MakeRun, small_model: Path, hub: RunningHub, theirs: str, sha: str
) -> None:
    run = finished_run(make_run, small_model, ifExists="Fail").at(hub.endpoint).with_token(write=hub.write_token)
    answer = {"id": REPOSITORY, "sha": theirs if sha == "theirs" else sha}
    hub.fail({"claim": answer}, path="/revision/finetunejob-", times=None)

    reasons = []
    for role in (preflight, publish):
        with pytest.raises(RunFailure) as failure:
            role(run.config, run.settings)
        reasons.append(failure.value.reason)

    assert reasons == [Reason.REPOSITORY_EXISTS, Reason.REPOSITORY_EXISTS]
    assert hub.commits(REPOSITORY)["branches"]["main"] == theirs


@pytest.mark.parametrize(("policy", "reason"), [("Fail", Reason.REPOSITORY_EXISTS), ("Skip", Reason.PUBLISH_SKIPPED)])
def test_files_that_came_in_while_publishing_are_left_alone_if_asked(
    run: Run, hub: RunningHub, monkeypatch: pytest.MonkeyPatch, policy: str, reason: Reason
) -> None:
    run = with_policy(run, policy)
    upload, api = HfApi.preupload_lfs_files, connect(hub.endpoint, token=hub.write_token)

    def overtaken(self: HfApi, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        monkeypatch.setattr(HfApi, "preupload_lfs_files", upload)
        api.create_commit(REPOSITORY, operations=[CommitOperationAdd("README.md", CARD)], commit_message="Theirs")
        upload(self, *arguments, **more)

    monkeypatch.setattr(HfApi, "preupload_lfs_files", overtaken)

    try:
        ended = publish(run.config, run.settings).reason
    except RunFailure as failure:
        ended = failure.reason

    assert ended is reason
    assert own_commits(hub) == []


@pytest.mark.parametrize("status", [400, 413, 422])
def test_content_that_the_hub_refuses_is_not_sent_again(run: Run, hub: RunningHub, status: int) -> None:
    hub.fail({"status": status, "message": "Too much"}, method="POST", path="/commit/main", times=None)

    with pytest.raises(RunFailure) as failure:
        publish(run.config, run.settings)

    assert (failure.value.reason, failure.value.message) == (
        Reason.WRITE_FORBIDDEN,
        "publish.repository: the Hub refuses the content of demo/finetuned (Too much)",
    )
    assert [call for call in hub.calls() if call.startswith("POST") and "/commit/" in call] == [
        f"POST /api/models/{REPOSITORY}/commit/main {status}"
    ]


def test_a_whoami_that_refuses_a_token_that_may_write_is_a_warning(run: Run, hub: RunningHub) -> None:
    hub.fail({"status": 401, "message": "Who?"}, path="/whoami", times=None)

    result = preflight(run.config, run.settings)

    assert result.reason is Reason.VALIDATED
    (warning,) = result.warnings
    assert warning.startswith("demo/finetuned may be written with this token all the same: publish.tokenSecret: ")


@pytest.mark.parametrize("answer", [{}, {"auth": None}, {"name": "demo", "auth": {"accessToken": None}}])
def test_a_whoami_that_says_little_is_no_reason_to_stop(run: Run, hub: RunningHub, answer: dict[str, Any]) -> None:
    hub.fail({"claim": answer}, path="/whoami", times=None)

    result = preflight(run.config, run.settings)

    assert (result.reason, result.warnings) == (Reason.VALIDATED, [])


def test_a_private_repository_that_the_hub_shows_to_everybody_is_told(run: Run, hub: RunningHub) -> None:
    hub.fail({"amend": {"private": False}}, method="GET", path="/models/demo/finetuned$", skip=1)

    result = preflight(run.config, run.settings)

    assert result.warnings == [
        "publish.private is true, and the Hub shows demo/finetuned to everybody; make it private there, or delete it"
    ]
