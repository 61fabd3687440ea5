"""A run that is on the Hub already is not trained again; what the Hub says of it is believed once it was read back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from finetune_api.contract import RunResult, run_id
from finetune_api.reasons import Reason
from finetune_trainer.hub.client import connect
from finetune_trainer.hub.published import PublishedRuns
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.publish.preflight import preflight
from finetune_trainer.publish.publish import publish
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report
from tests.hub import RunningHub
from tests.trainer.conftest import Run, write_jsonl
from tests.trainer.publishing import REPOSITORY, finished_run, make_run_in, scores, with_if_exists


def push_sources(hub: RunningHub, folder: Path, *, rows: int = 3) -> dict[str, str]:
    """Put the sources of `finished_run` on the Hub; return their commits by field."""
    api = connect(hub.endpoint, token=hub.write_token)
    write_jsonl(folder / "train.jsonl", [{"query": f"q{row}"} for row in range(rows)])
    commits = {}
    for kind, name in (("model", "demo/tiny"), ("dataset", "demo/pages")):
        api.create_repo(name, repo_type=kind, private=False, exist_ok=True)
        commits[kind] = api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder).oid
    return {
        "spec.data.evaluation[0]": commits["dataset"],
        "spec.data.train[0]": commits["dataset"],
        "spec.model": commits["model"],
    }


@pytest.fixture
def done(small_model: Path, hub: RunningHub, tmp_path: Path) -> RunResult:
    """A run that was trained and published, by an object that is gone."""
    sources = push_sources(hub, tmp_path / "sources")
    run = finished_run(make_run_in(tmp_path / "first"), small_model).at(hub.endpoint).with_token(write=hub.write_token)
    own = {"sources": sources, "run": run_id(run.config.spec_hash, sources)}
    InputsManifest.read(run.workspace.manifest).model_copy(update=own).write(run.workspace.manifest)
    Report.read(run.workspace.report).model_copy(update={"run": own["run"]}).write(run.workspace.report)
    result = publish(run.config, run.settings)
    assert result.reason is Reason.PUBLISHED
    hub.clear()
    return result


@pytest.fixture
def again(done: RunResult, small_model: Path, hub: RunningHub, tmp_path: Path) -> Run:
    """The same content asked for by another object, on a volume of its own."""
    run = finished_run(make_run_in(tmp_path / "second"), small_model).at(hub.endpoint).with_token(write=hub.write_token)
    run.workspace.manifest.unlink()
    job = run.config.job.model_copy(update={"uid": "restored", "namespace": "elsewhere", "name": "restored"})
    return replace(run, config=run.config.model_copy(update={"job": job}))


class GoesOnError(Exception):
    """Raised where prepare begins to fetch."""


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> None:
        raise GoesOnError

    monkeypatch.setattr("finetune_trainer.prepare.prepare.locate", fetch)


def test_a_run_that_is_on_the_hub_ends_with_its_scores_and_fetches_nothing(
    again: Run, done: RunResult, hub: RunningHub
) -> None:
    checked = preflight(again.config, again.settings)

    result = prepare(again.config, again.settings)

    assert checked.warnings == []
    assert (result.reason, result.published, result.evaluations) == (
        Reason.ALREADY_PUBLISHED,
        done.published,
        scores(),
    )
    assert (result.model, result.datasets, result.metrics) == (done.model, done.datasets, done.metrics)
    assert done.published is not None
    assert done.published.commit is not None
    assert result.message == (
        f"Published before as {REPOSITORY}@{done.published.commit[:12]}, tag finetunejob-{result.run}; nothing is "
        "trained. A new text in spec.rerun trains it all the same."
    )
    assert not again.workspace.manifest.exists()
    fetched = {call.split()[1] for call in hub.calls() if "/resolve/" in call}
    assert fetched == {f"/{REPOSITORY}/resolve/{done.published.commit}/finetunejob.json"}


def test_the_record_holds_what_was_trained_of_what_and_no_name_of_the_cluster(
    done: RunResult, hub: RunningHub, tmp_path: Path
) -> None:
    assert done.published is not None
    api = connect(hub.endpoint, token=hub.write_token)
    path = api.hf_hub_download(REPOSITORY, "finetunejob.json", local_dir=tmp_path / "fetched")

    record = json.loads(Path(path).read_bytes())

    assert done.published.tag == f"finetunejob-{record['run']}"
    assert set(record) == {"run", "sources", "model", "datasets", "evaluations", "metrics", "versions", "files"}
    assert record["versions"] == {"torch": "2.15.0", "sentence-transformers": "6.2.0"}
    assert {file["path"] for file in record["files"]} == {
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
    }


def test_who_asks_for_it_once_more_gets_it_trained(again: Run) -> None:
    anyway = replace(again, config=again.config.model_copy(update={"trains_anyway": True}))
    preflight(anyway.config, anyway.settings)

    with pytest.raises(GoesOnError):
        prepare(anyway.config, anyway.settings)


def test_the_same_spec_of_newer_data_is_another_run(again: Run, hub: RunningHub, tmp_path: Path) -> None:
    push_sources(hub, tmp_path / "sources", rows=4)
    preflight(again.config, again.settings)

    with pytest.raises(GoesOnError):
        prepare(again.config, again.settings)


@pytest.mark.parametrize(("policy", "ended"), [("Fail", RunFailure), ("Skip", GoesOnError)])
def test_a_model_of_older_data_is_in_the_way_before_anything_is_fetched(
    again: Run, hub: RunningHub, tmp_path: Path, policy: str, ended: type[Exception]
) -> None:
    push_sources(hub, tmp_path / "sources", rows=4)
    run = with_if_exists(again, policy)
    checked = preflight(run.config, run.settings)

    with pytest.raises(ended, match="holds files already" if policy == "Fail" else None):
        prepare(run.config, run.settings)

    assert checked.warnings == []


@pytest.mark.parametrize("policy", ["Fail", "Skip"])
def test_what_this_run_has_published_is_not_in_its_own_way(again: Run, policy: str) -> None:
    run = with_if_exists(again, policy)
    anyway = replace(run, config=run.config.model_copy(update={"trains_anyway": True}))

    checked = [preflight(one.config, one.settings).warnings for one in (run, anyway)]

    assert checked == [[], []]
    with pytest.raises(GoesOnError):
        prepare(anyway.config, anyway.settings)


def retag(api: HfApi, tag: str, commit: str) -> None:
    api.delete_tag(REPOSITORY, tag=tag)
    api.create_tag(REPOSITORY, tag=tag, revision=commit)


def change(api: HfApi, tag: str, path: str, content: bytes | None, *, words: str = "") -> None:
    """Let the tag name a commit in which one file is another, or gone."""
    operation = CommitOperationDelete(path) if content is None else CommitOperationAdd(path, content)
    commit = api.create_commit(REPOSITORY, operations=[operation], commit_message="Theirs", commit_description=words)
    retag(api, tag, commit.oid)


def first_commit(api: HfApi, tag: str, _: str) -> None:
    retag(api, tag, api.list_repo_commits(REPOSITORY)[-1].commit_id)


def no_record(api: HfApi, tag: str, words: str) -> None:
    change(api, tag, "finetunejob.json", None, words=words)


def broken_record(api: HfApi, tag: str, words: str) -> None:
    change(api, tag, "finetunejob.json", b"{}", words=words)


def other_weights(api: HfApi, tag: str, words: str) -> None:
    change(api, tag, "config.json", b'{"hidden": 1}', words=words)


def no_weights(api: HfApi, tag: str, words: str) -> None:
    change(api, tag, "model.safetensors", None, words=words)


def half_of_another_model(api: HfApi, tag: str, words: str) -> None:
    change(api, tag, "adapter_config.json", b"{}", words=words)


def somebodys_commit(api: HfApi, tag: str, _: str) -> None:
    change(api, tag, "notes.md", b"mine")


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (first_commit, "is not of this run"),
        (somebodys_commit, "is not of this run"),
        (no_record, "holds no finetunejob.json"),
        (broken_record, "is broken or of another run"),
        (other_weights, "does not hold what its record says (config.json)"),
        (no_weights, "does not hold what its record says (model.safetensors)"),
        (half_of_another_model, "does not hold what its record says (adapter_config.json)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_tag_that_names_something_else_is_not_believed_and_told(
    again: Run, done: RunResult, hub: RunningHub, lie: Callable[[HfApi, str, str], None], why: str
) -> None:
    tag = (done.published and done.published.tag) or ""
    run = tag.removeprefix("finetunejob-")
    lie(connect(hub.endpoint, token=hub.write_token), tag, f"FinetuneJob-Run: {run}")

    preflight(again.config, again.settings)

    handed = PublishedRuns.read(again.settings.published_runs)
    assert handed.runs == {}
    assert list(handed.doubts) == [run]
    assert handed.doubts[run].startswith(f"tag {tag} of {REPOSITORY} is not believed, so that it is trained: ")
    assert why in handed.doubts[run]
    with pytest.raises(GoesOnError):
        prepare(again.config, again.settings)


def test_somebodys_notes_beside_the_model_do_no_harm(again: Run, done: RunResult, hub: RunningHub) -> None:
    tag = (done.published and done.published.tag) or ""
    words = f"FinetuneJob-Run: {tag.removeprefix('finetunejob-')}"
    change(connect(hub.endpoint, token=hub.write_token), tag, "notes.md", b"good", words=words)
    preflight(again.config, again.settings)

    assert prepare(again.config, again.settings).reason is Reason.ALREADY_PUBLISHED


def test_a_hub_without_tags_is_no_reason_not_to_train(again: Run, hub: RunningHub) -> None:
    hub.fail({"status": 404}, path="/refs", times=None)
    preflight(again.config, again.settings)

    with pytest.raises(GoesOnError):
        prepare(again.config, again.settings)
