"""A run is its content: the same commits are the same run, whatever the object is called that asks for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from finetune_api.contract import run_id
from finetune_trainer.hub.client import connect
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.workspace.manifest import InputsManifest
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, write_jsonl


@pytest.fixture
def run(make_run: MakeRun, hub: RunningHub, text_model: Path, tmp_path: Path) -> Run:
    """A run on branch `main` of a model and a dataset."""
    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo("demo/base")
    api.upload_folder(repo_id="demo/base", folder_path=text_model, ignore_patterns="*.bin")
    push_rows(hub, tmp_path, 40)
    data = {"train": [{"name": "qa", "source": "hf://demo/qa"}]}
    return make_run(model={"source": "hf://demo/base"}, data=data).at(hub.endpoint)


def push_rows(hub: RunningHub, tmp_path: Path, number: int) -> str:
    """Let the dataset have so many rows, and return the commit."""
    rows = [{"query": f"question {row}", "positive": f"answer {row}"} for row in range(number)]
    write_jsonl(tmp_path / "rows" / "train.jsonl", rows)
    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo("demo/qa", repo_type="dataset", exist_ok=True)
    return api.upload_folder(repo_id="demo/qa", repo_type="dataset", folder_path=tmp_path / "rows").oid


def made_again(run: Run) -> Run:
    """Return the run of an object that was deleted and made again."""
    job = run.config.job.model_copy(update={"uid": "another", "name": "pages-2"})
    return replace(run, config=run.config.model_copy(update={"job": job}))


def work_of(run: Run) -> Path:
    return run.workspace.checkpoints / "step-000001"


def test_the_id_is_made_of_the_commits_and_told(run: Run) -> None:
    result = prepare(run.config, run.settings)

    manifest = InputsManifest.read(run.workspace.manifest)
    assert set(manifest.sources) == {"spec.model", "spec.data.train[0]"}
    assert manifest.sources["spec.model"] == (result.model and result.model.revision)
    assert result.run == manifest.run == run_id(run.config.spec_hash, manifest.sources)


def test_inputs_that_are_fetched_anew_are_those_that_the_job_began_with(
    run: Run, hub: RunningHub, tmp_path: Path
) -> None:
    first = prepare(run.config, run.settings)
    work_of(run).mkdir(parents=True)
    push_rows(hub, tmp_path, 50)
    run.workspace.train_table("qa").write_bytes(b"rotten")

    second = prepare(run.config, run.settings)

    assert second == first
    assert work_of(run).exists()


def test_a_job_keeps_to_its_commits_also_when_fetching_them_anew_was_cut_off(
    run: Run, hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(run.config, run.settings)
    push_rows(hub, tmp_path, 50)
    run.workspace.train_table("qa").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("finetune_trainer.prepare.prepare.locate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepare(run.config, run.settings)
    assert not run.workspace.manifest.exists()

    second = prepare(run.config, run.settings)

    assert second == first
    assert [path.name for path in run.workspace.inputs.glob("*.json")] == ["manifest.json"]


def test_the_same_content_under_another_uid_is_the_same_run_and_not_fetched_again(run: Run, hub: RunningHub) -> None:
    first = prepare(run.config, run.settings)
    work_of(run).mkdir(parents=True)
    again = made_again(run)
    hub.clear()

    second = prepare(again.config, again.settings)

    assert second == first
    assert work_of(run).exists()
    assert not [call for call in hub.calls() if "resolve" in call]


def test_a_job_that_was_made_again_takes_the_data_of_today_and_sets_aside_what_was_made_of_others(
    run: Run, hub: RunningHub, tmp_path: Path
) -> None:
    first = prepare(run.config, run.settings)
    work_of(run).mkdir(parents=True)
    push_rows(hub, tmp_path, 50)
    again = made_again(run)

    second = prepare(again.config, again.settings)

    assert [dataset.rows for dataset in second.datasets] == [50]
    assert (first.run or "").split("-")[0] == (second.run or "").split("-")[0]
    assert second.run != first.run
    assert not work_of(run).exists()
    assert (run.workspace.earlier(first.run or "") / "train/checkpoints/step-000001").is_dir()


def test_a_job_whose_commit_is_gone_begins_anew_and_says_so(run: Run, hub: RunningHub, tmp_path: Path) -> None:
    first = prepare(run.config, run.settings)
    gone = InputsManifest.read(run.workspace.manifest).sources["spec.data.train[0]"]
    connect(hub.endpoint, token=hub.write_token).delete_repo("demo/qa", repo_type="dataset")
    commit = push_rows(hub, tmp_path, 50)
    run.workspace.train_table("qa").unlink()

    second = prepare(run.config, run.settings)

    assert second.run != first.run
    assert second.warnings[-1] == (
        "what this job began with cannot be had any more, so that it begins anew: spec.data.train[0] was "
        f"{gone[:12]} and is {commit[:12]}"
    )
