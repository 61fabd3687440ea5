"""prepare as a whole: what a good job gets, and what its model cannot do."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import ExitCode
from finetune_api.reasons import Reason
from finetune_api.status import DatasetStatus, ModelStatus
from finetune_api.workspace import Workspace
from finetune_trainer.hub.client import connect
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.fence import Fence, Owner
from finetune_trainer.workspace.manifest import Column, InputsManifest, PreparedEvaluation, PreparedTrain
from finetune_trainer.workspace.report import CurvePoint, Report
from finetune_trainer.workspace.verify import hash_files
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl, write_pages
from tests.trainer.laying_out import kept, read
from tests.trainer.publishing import finished_run

COLORS = ["red", "green", "blue", "orange", "purple", "black"]
COLUMNS = {"query": "query", "positive": "image"}


def push(hub: RunningHub, folder: Path, repository: str, *, kind: str = "dataset", private: bool = False) -> str:
    """Put a folder on the Hub and return its commit."""
    api = connect(hub.endpoint, token=hub.write_token)
    api.create_repo(repository, repo_type=kind, private=private)
    return api.upload_folder(repo_id=repository, repo_type=kind, folder_path=folder).oid


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """A dataset of pages, on the claim `inputs`."""
    folder = tmp_path / "claims" / "inputs" / "pages"
    write_pages(
        folder,
        train=[{"query": f"a {color} page", "image": png(color)} for color in COLORS[:4]],
        test=[{"query": f"one {color} page", "image": png(color)} for color in COLORS[4:]],
    )
    return folder


def claim_run(make_run: MakeRun, tmp_path: Path, model: Path, **spec: Any) -> Run:  # noqa: ANN401 - fields of a spec
    """Return a run on the pages, with `model` on the same claim."""
    shutil.copytree(model, tmp_path / "claims" / "inputs" / "model", ignore=shutil.ignore_patterns("*.bin"))
    train = [{"name": "pages", "source": "pvc://inputs/pages", "columns": COLUMNS}]
    return make_run(model={"source": "pvc://inputs/model"}, data={"train": train}, **spec)


def failure_of(run: Run) -> RunFailure:
    with pytest.raises(RunFailure) as failure:
        prepare(run.config, run.settings)
    return failure.value


def test_model_and_dataset_of_the_hub_are_laid_out_at_their_commits(
    make_run: MakeRun, hub: RunningHub, pages: Path, tiny_model: Path
) -> None:
    model_commit = push(hub, tiny_model, "demo/tiny", kind="model")
    data_commit = push(hub, pages, "demo/pages", private=True)
    run = make_run(
        model={"source": "hf://demo/tiny"},
        data={
            "train": [{"name": "pages", "source": "hf://demo/pages", "columns": COLUMNS}],
            "evaluation": [{"name": "held-out", "source": "hf://demo/pages", "columns": COLUMNS}],
        },
    )
    run = run.at(hub.endpoint).with_token(read=hub.read_token)
    hub.clear()

    result = prepare(run.config, run.settings)

    manifest = InputsManifest.read(run.workspace.manifest)
    model = ModelStatus(
        revision=model_commit,
        modalities=["text", "image", "video", "message"],
        embedding_dimension=64,
        checkpoint_bytes=6_273_792,  # weights and two states of each, in float32
    )
    datasets = [
        DatasetStatus(name="pages", revision=data_commit, rows=4),
        DatasetStatus(name="held-out", revision=data_commit, rows=2),
    ]
    assert (result.reason, result.warnings) == (
        Reason.VALIDATED,
        ["spec.data.train[0]: batches of 4 rows instead of 32; the set fills no larger ones"],
    )
    assert (result.model, result.datasets) == (model, datasets)
    assert (manifest.model, manifest.datasets, manifest.spec_hash) == (model, datasets, run.config.spec_hash)
    assert manifest.train[0] == PreparedTrain(
        name="pages",
        columns=[Column(name="query", modality="text"), Column(name="positive", modality="image")],
        rows=4,
        distinct={"query": 4, "positive": 4},
    )
    assert manifest.evaluations == [
        PreparedEvaluation(name="held-out", query_modality="text", corpus_modality="image", queries=2, documents=2)
    ]
    rows = read(run.workspace.train_table("pages"))
    assert [row["query"] for row in rows] == [f"a {color} page" for color in COLORS[:4]]
    assert [kept(run, row["positive"]) for row in rows] == [png(c) for c in COLORS[:4]]
    assert sorted(path.name for path in run.workspace.inputs.iterdir()) == ["data", "images", "manifest.json", "model"]
    assert {user["user"] for user in hub.requests()} == {"demo"}


def test_prepared_inputs_are_not_fetched_again(
    make_run: MakeRun, hub: RunningHub, pages: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = claim_run(make_run, tmp_path, tiny_model)
    first = prepare(run.config, run.settings)
    shutil.rmtree(tmp_path / "claims")

    second = prepare(run.config, run.settings)

    assert second == first


def test_prepare_is_refused_while_another_job_is_at_work_in_the_folder(
    make_run: MakeRun, pages: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = claim_run(make_run, tmp_path, tiny_model)
    other = Fence(run.workspace, Owner(run="other", namespace="search", name="other", uid="other", attempt=12))

    with other.held():
        failure = failure_of(run)

    assert failure.reason is Reason.WORKSPACE_IN_USE
    assert "used by FinetuneJob search/other" in failure.message
    assert not run.workspace.inputs.exists()


def test_prepare_in_the_folder_of_an_ended_job_keeps_its_model_and_says_so(
    make_run: MakeRun, pages: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = claim_run(make_run, tmp_path, tiny_model)
    with Fence(run.workspace, Owner(run="0ld", namespace="search", name="old", uid="old", attempt=12)).held():
        run.workspace.model.mkdir(parents=True)

    result = prepare(run.config, run.settings)

    assert result.warnings[-1].startswith("the folder also holds an earlier run, set aside in earlier/0ld")
    assert (run.workspace.earlier("0ld") / "train" / "model").is_dir()
    assert not run.workspace.train.exists()


def test_a_source_at_the_root_of_the_jobs_own_claim_is_not_its_own_folder(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path
) -> None:
    claim = tmp_path / "claims" / "inputs"
    write_pages(claim, train=[{"query": f"a {color} page", "image": png(color)} for color in COLORS[:4]])
    shutil.copytree(tiny_model, claim / ".finetune/search/models/model")
    train = [{"name": "pages", "source": "pvc://inputs", "columns": COLUMNS}]
    run = make_run(model={"source": "pvc://inputs/.finetune/search/models/model"}, data={"train": train})
    run = replace(run, settings=replace(run.settings, workspace=Workspace(claim / ".finetune/search/pages-1")))
    first = prepare(run.config, run.settings)
    run.workspace.manifest.unlink()

    again = prepare(run.config, run.settings)

    assert [dataset.rows for dataset in first.datasets] == [4]
    assert again == first


@pytest.mark.parametrize("part", ["model/model.safetensors", "data/train/pages.parquet"])
def test_inputs_with_a_byte_that_has_changed_are_laid_out_again(
    part: str, make_run: MakeRun, pages: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = claim_run(make_run, tmp_path, tiny_model)
    first = prepare(run.config, run.settings)
    file = run.workspace.inputs / part
    right = file.read_bytes()
    file.write_bytes(right[:-9] + bytes([right[-9] ^ 1]) + right[-8:])

    second = prepare(run.config, run.settings)

    hashes = {one.path: one.sha256 for one in InputsManifest.read(run.workspace.manifest).files}
    assert second == first
    assert file.read_bytes() == right
    assert hashes[part] == hashlib.sha256(right).hexdigest()


def test_a_training_that_has_ended_on_the_volume_is_told_with_what_it_measured(
    make_run: MakeRun, tiny_model: Path
) -> None:
    run = finished_run(make_run, tiny_model)
    curve = [CurvePoint(step=1, loss=0.5), CurvePoint(step=2, loss=0.25)]
    report = Report.read(run.workspace.report).model_copy(update={"curve": curve})
    report.write(run.workspace.report)

    own = prepare(run.config, run.settings)
    report.model_copy(update={"run": "of another"}).write(run.workspace.report)
    of_another = prepare(run.config, run.settings)

    assert (own.is_trained, own.metrics, own.evaluations) == (True, report.metrics, report.evaluations)
    assert [(point.step, point.loss) for point in own.curve] == [(1, 0.5), (2, 0.25)]
    assert own.evaluations != []
    assert (of_another.is_trained, of_another.metrics, of_another.evaluations) == (False, None, [])


def test_a_finished_training_whose_model_has_rotted_is_trained_on_and_told(make_run: MakeRun, tiny_model: Path) -> None:
    run = finished_run(make_run, tiny_model)
    report, weights = Report.read(run.workspace.report), run.workspace.model / "model.safetensors"
    report.model_copy(update={"files": hash_files(run.workspace.model)}).write(run.workspace.report)
    whole = prepare(run.config, run.settings)
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")

    result = prepare(run.config, run.settings)

    assert (whole.is_trained, whole.warnings) == (True, [])
    assert (result.is_trained, result.warnings) == (
        False,
        [
            "the model that was trained is lost: train/model/model.safetensors has changed since it was written; "
            "training goes on from the newest checkpoint"
        ],
    )


def test_a_half_finished_attempt_is_done_again_on_top_of_what_is_there(
    make_run: MakeRun, pages: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run = claim_run(make_run, tmp_path, tiny_model)
    first = prepare(run.config, run.settings)
    whole = InputsManifest.read(run.workspace.manifest)
    (run.workspace.base_model / "model.safetensors").write_bytes(b"cut")
    (run.workspace.base_model / "left-over.json").write_text("{}")
    run.workspace.train_table("pages").with_suffix(".partial").write_bytes(b"cut")
    next(run.workspace.images.glob("*.tar")).write_bytes(b"")

    second = prepare(run.config, run.settings)

    assert second == first
    assert InputsManifest.read(run.workspace.manifest) == whole
    assert kept(run, read(run.workspace.train_table("pages"))[0]["positive"]) == png(COLORS[0])
    assert not (run.workspace.base_model / "left-over.json").exists()


def test_a_download_that_is_cut_is_taken_up_again(
    make_run: MakeRun, hub: RunningHub, pages: Path, tiny_model: Path
) -> None:
    push(hub, tiny_model, "demo/tiny", kind="model")
    push(hub, pages, "demo/pages")
    train = [{"name": "pages", "source": "hf://demo/pages", "columns": COLUMNS}]
    run = make_run(model={"source": "hf://demo/tiny"}, data={"train": train}).at(hub.endpoint)
    hub.fail({"cutAfterBytes": 1000}, path="/model.safetensors")

    result = prepare(run.config, run.settings)

    weights = run.workspace.base_model / "model.safetensors"
    assert result.reason is Reason.VALIDATED
    assert weights.read_bytes() == (tiny_model / "model.safetensors").read_bytes()


def test_a_hub_that_is_down_is_told_as_such_and_not_as_missing(make_run: MakeRun, hub: RunningHub) -> None:
    train = [{"name": "pages", "source": "hf://demo/pages"}]
    run = make_run(model={"source": "hf://demo/tiny"}, data={"train": train}).at(hub.endpoint)
    hub.fail({"status": 503}, path="/api/", times=None)

    failure = failure_of(run)

    assert (failure.reason, failure.exit_code) == (Reason.HUB_UNAVAILABLE, ExitCode.HUB_UNAVAILABLE)
    assert failure.message == (
        "2 problems. 1) spec.data.train[0].source: fetching dataset demo/pages at main: the Hub did not answer as it "
        "should (Fault on demand); wait until it answers 2) spec.model.source: fetching model demo/tiny at main: the "
        "Hub did not answer as it should (Fault on demand); wait until it answers"
    )


def test_a_read_token_that_nobody_has_is_refused(make_run: MakeRun, hub: RunningHub) -> None:
    train = [{"name": "pages", "source": "hf://demo/pages"}]
    run = make_run(model={"source": "hf://demo/tiny"}, data={"train": train}).at(hub.endpoint)

    failure = failure_of(run.with_token(read="hf_nobodys"))

    assert failure.reason is Reason.TOKEN_REFUSED
    assert "hf_nobodys" not in failure.message


def test_a_gated_model_is_told_as_such(make_run: MakeRun, hub: RunningHub, small_model: Path, pages: Path) -> None:
    push(hub, small_model, "demo/gated", kind="model")
    push(hub, pages, "demo/pages")
    connect(hub.endpoint, token=hub.write_token).update_repo_settings("demo/gated", gated="manual")
    train = [{"name": "pages", "source": "hf://demo/pages", "columns": COLUMNS}]
    run = make_run(model={"source": "hf://demo/gated"}, data={"train": train}).at(hub.endpoint)

    anonymous, stranger = failure_of(run), failure_of(run.with_token(read="hf_other_read"))

    for failure in (anonymous, stranger):
        assert failure.reason is Reason.MODEL_NOT_FOUND
        assert "is gated and not open to this token" in failure.message
        assert "ask for access on its page and set hub.tokenSecret" in failure.message


@pytest.mark.parametrize("sha", ["", None, "main", "f" * 40])
def test_a_revision_that_the_hub_only_says_to_have_is_not_trained(
    make_run: MakeRun, hub: RunningHub, small_model: Path, pages: Path, sha: str | None
) -> None:
    push(hub, small_model, "demo/model", kind="model")
    push(hub, pages, "demo/pages")
    train = [{"name": "pages", "source": "hf://demo/pages", "columns": COLUMNS}]
    run = make_run(model={"source": "hf://demo/model", "revision": "v9"}, data={"train": train}).at(hub.endpoint)
    hub.fail({"claim": {"id": "demo/model", "sha": sha}}, path="/models/demo/model/revision/v9", times=None)

    failure = failure_of(run)

    assert failure.reason in (Reason.HUB_UNAVAILABLE, Reason.MODEL_NOT_FOUND)
    assert "demo/model" in failure.message


def test_another_commit_in_place_of_the_one_asked_for_is_not_trained(
    make_run: MakeRun, hub: RunningHub, small_model: Path, pages: Path
) -> None:
    push(hub, small_model, "demo/model", kind="model")
    push(hub, pages, "demo/pages")
    head = hub.commits("demo/model")["branches"]["main"]
    train = [{"name": "pages", "source": "hf://demo/pages", "columns": COLUMNS}]
    model = {"source": "hf://demo/model", "revision": "f" * 40}
    run = make_run(model=model, data={"train": train}).at(hub.endpoint)
    hub.fail({"claim": {"id": "demo/model", "sha": head}}, path="/models/demo/model/revision/f", times=None)

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.MODEL_NOT_FOUND,
        f"spec.model.source: the Hub has {head[:12]} in place of model demo/model at {'f' * 40}; name a commit that is "
        "there",
    )


def test_a_revision_that_is_missing_is_named(
    make_run: MakeRun, hub: RunningHub, small_model: Path, pages: Path
) -> None:
    push(hub, small_model, "demo/model", kind="model")
    push(hub, pages, "demo/pages")
    train = [{"name": "pages", "source": "hf://demo/pages", "columns": COLUMNS}]
    run = make_run(model={"source": "hf://demo/model", "revision": "v9"}, data={"train": train}).at(hub.endpoint)

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.MODEL_NOT_FOUND,
        "spec.model.source: model demo/model has no revision 'v9'; name one that is there",
    )


def test_images_for_a_text_model_are_refused(make_run: MakeRun, pages: Path, text_model: Path, tmp_path: Path) -> None:
    failure = failure_of(claim_run(make_run, tmp_path, text_model))

    assert (failure.reason, failure.exit_code) == (Reason.UNSUPPORTED_MODALITY, ExitCode.UNSUPPORTED_MODEL)
    assert failure.message == (
        "spec.data.train[0]: column image of dataset pages holds images, but pvc://inputs/model encodes text only"
    )


def test_wrong_loss_arguments_and_dimensions_are_told_at_once(
    make_run: MakeRun, pages: Path, tiny_model: Path, tmp_path: Path
) -> None:
    arguments = {"mini_batchsize": 8, "temperature": 0.1}
    loss = {"arguments": arguments, "matryoshkaDimensions": [128, 64]}

    failure = failure_of(claim_run(make_run, tmp_path, tiny_model, training={"loss": loss}))

    where = "spec.training.loss.arguments"
    assert failure.reason is Reason.INVALID_ARGUMENT
    assert failure.message.startswith("3 problems. ")
    assert f"{where}.mini_batchsize: 8 is wrong because" in failure.message
    assert "mini_batch_size" in failure.message
    assert f"{where}.temperature: 0.1 is wrong because" in failure.message
    assert "[128] is wrong because the model's embeddings have 64 dimensions" in failure.message


def test_good_loss_arguments_pass(make_run: MakeRun, pages: Path, tiny_model: Path, tmp_path: Path) -> None:
    loss = {"arguments": {"mini_batch_size": "auto", "scale": 30}, "matryoshkaDimensions": [64, 32]}
    run = claim_run(make_run, tmp_path, tiny_model, training={"loss": loss})

    result = prepare(run.config, run.settings)

    assert result.reason is Reason.VALIDATED


def test_a_folder_that_is_no_model_is_refused(make_run: MakeRun, pages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "no-model"
    write_jsonl(folder / "notes.jsonl", [{"a": 1}])

    failure = failure_of(claim_run(make_run, tmp_path, folder))

    assert failure.reason is Reason.UNSUPPORTED_MODEL
    assert "neither modules.json nor config.json" in failure.message


def test_a_model_that_the_library_cannot_load_is_refused_in_its_words(
    make_run: MakeRun, pages: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_model, folder)
    (folder / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 64, "pooling_mode": "none such"}')

    failure = failure_of(claim_run(make_run, tmp_path, folder))

    assert failure.reason is Reason.UNSUPPORTED_MODEL
    assert failure.message.startswith("spec.model.source: Sentence Transformers cannot load pvc://inputs/model: ")
    assert "\n" not in failure.message


def test_a_model_with_code_of_its_own_is_refused_and_its_code_is_not_even_fetched(
    make_run: MakeRun, hub: RunningHub, pages: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "own-code"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}')
    (folder / "mine.py").write_text("raise SystemExit('code of a model was run')")
    run = claim_run(make_run, tmp_path, folder)

    failure = failure_of(run)

    assert failure.reason is Reason.UNSUPPORTED_MODEL
    assert "needs code of its own, which is never run" in failure.message
    assert [path.name for path in run.workspace.base_model.iterdir()] == ["config.json"]
