"""prepare: every model that the spec names is fetched into its place, and must fit the data."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune_api.losses import Label
from finetune_api.reasons import Reason
from finetune_api.types import named_models
from finetune_trainer.prepare.fetch.locating import Located, locate, resolve
from finetune_trainer.prepare.prepare import connect_sources, prepare
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import Column, InputsManifest, PreparedTrain
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl, write_pages
from tests.trainer.rerankers import build_tiny_reranker
from tests.trainer.test_prepare import failure_of, push

PAIRS = {"query": "question", "document": "answer", "label": "score"}


def located(run: Run) -> Located:
    scratch = run.workspace.inputs / ".scratch"
    scratch.mkdir(parents=True)
    sources = connect_sources(run.settings, scratch)
    return locate(run.config.spec, run.workspace, sources, resolve(run.config.spec, sources))


def test_routes_guides_and_miners_have_folders_of_their_own_and_equal_ones_are_fetched_once(
    make_run: MakeRun, hub: RunningHub, small_model: Path, tmp_path: Path
) -> None:
    commits = {name: push(hub, small_model, f"demo/{name}", kind="model") for name in ("text", "image", "guide")}
    write_jsonl(tmp_path / "claims" / "inputs" / "qa" / "train.jsonl", [{"query": "q", "positive": "a"}])
    guided = {"name": "GISTEmbedLoss", "guide": {"source": "hf://demo/guide"}}
    dataset = {"name": "qa", "source": "pvc://inputs/qa", "mineNegatives": {"source": "hf://demo/guide"}}
    routes = {name: {"source": f"hf://demo/{name}"} for name in ("text", "image")}
    run = make_run(model={"router": {"routes": routes}}, training={"loss": guided}, data={"train": [dataset]})
    run = run.at(hub.endpoint)
    hub.clear()

    found = located(run)

    assert {name: one.revision for name, one in found.models.items()} == {
        "spec.model.router.routes.image": commits["image"],
        "spec.model.router.routes.text": commits["text"],
        "spec.training.loss.guide": commits["guide"],
        "spec.data.train[0].mineNegatives": commits["guide"],
    }
    assert sorted(found.model_revision.split(", ")) == [f"{name} {commits[name][:12]}" for name in ("image", "text")]
    folders = {run.workspace.other_model(one.source, one.revision) for one in named_models(run.config.spec)}
    assert all((folder / "model.safetensors").is_file() for folder in folders)
    assert not run.workspace.base_model.exists()
    weights = [one["path"] for one in hub.requests() if one["method"] == "GET" and "model.safetensors" in one["path"]]
    assert len([path for path in weights if "demo/guide" in path]) == 1


def test_every_model_that_is_missing_is_told_at_its_field(make_run: MakeRun, hub: RunningHub, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"query": "q", "positive": "a"}])
    guided = {"name": "GISTEmbedLoss", "guide": {"source": "hf://demo/no-guide"}}
    dataset = {"name": "qa", "source": "pvc://inputs/qa"}
    run = make_run(model={"source": "hf://demo/no-model"}, training={"loss": guided}, data={"train": [dataset]})

    with pytest.raises(RunFailure) as failure:
        located(run.at(hub.endpoint))

    assert failure.value.reason is Reason.MODEL_NOT_FOUND
    assert failure.value.message.startswith("2 problems. 1) spec.model.source: model demo/no-model at main is not")
    assert "2) spec.training.loss.guide.source: model demo/no-guide at main is not found" in failure.value.message


def reranker_run(make_run: MakeRun, claim: Path, tiny_model: Path, **spec: Any) -> Run:  # noqa: ANN401 - as YAML has it
    """Return a run on `pvc://inputs/qa` with the tiny reranker."""
    build_tiny_reranker(claim / "reranker", embedding_model=tiny_model, num_labels=spec.pop("num_labels", 1))
    dataset = {"name": "qa", "source": "pvc://inputs/qa", "columns": spec.pop("columns")}
    model = {"kind": "Reranker", "source": "pvc://inputs/reranker"}
    return make_run(model=model, data={"train": [dataset], "evaluation": spec.pop("evaluation_sets", [])}, **spec)


def test_a_reranker_of_pages_is_prepared(make_run: MakeRun, claim: Path, tiny_model: Path) -> None:
    write_pages(claim / "qa", train=[{"query": f"a {color} page", "image": png(color)} for color in ("red", "blue")])
    run = reranker_run(
        make_run,
        claim,
        tiny_model,
        columns={"query": "query", "positive": "image"},
        training={"loss": {"name": "CachedCrossEncoderLoss"}},
    )

    result = prepare(run.config, run.settings)

    assert result.reason is Reason.VALIDATED
    assert result.warnings == [
        "spec.training.loss.name: the library has no CachedCrossEncoderLoss; CachedMultipleNegativesRankingLoss is "
        "used",
        "spec.data.train[0]: batches of 2 rows instead of 32; the set fills no larger ones",
    ]
    assert InputsManifest.read(run.workspace.manifest).train == [
        PreparedTrain(
            name="qa",
            columns=[Column(name="query", modality="text"), Column(name="positive", modality="image")],
            rows=2,
            distinct={"query": 2, "positive": 2},
        )
    ]


def test_a_class_that_the_model_has_no_score_for_makes_a_bad_row(
    make_run: MakeRun, claim: Path, tiny_model: Path
) -> None:
    rows = [{"question": "q", "answer": "a", "score": score} for score in (0, 1, 2)]
    write_jsonl(claim / "qa" / "train.jsonl", rows)
    training = {"loss": {"name": "CrossEntropyLoss"}}
    run = reranker_run(make_run, claim, tiny_model, columns=PAIRS, training=training, num_labels=2)

    failure = failure_of(run)

    assert failure.reason is Reason.BAD_SAMPLES
    assert "(row 2: label: the loss has 2 classes, counted from 0)" in failure.message


def test_a_reranker_of_classes_is_refused_where_there_is_something_to_measure(
    make_run: MakeRun, claim: Path, tiny_model: Path
) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a", "score": 1}])
    write_jsonl(claim / "held-out" / "train.jsonl", [{"query": "q", "documents": ["a", "b"], "label": [1, 0]}])
    columns = {"documents": "documents", "label": "label"}
    run = reranker_run(
        make_run,
        claim,
        tiny_model,
        columns=PAIRS,
        training={"loss": {"name": "CrossEntropyLoss"}},
        evaluation_sets=[{"name": "held-out", "source": "pvc://inputs/held-out", "split": "train", "columns": columns}],
        num_labels=3,
    )

    failure = failure_of(run)

    assert (failure.reason, failure.message) == (
        Reason.INVALID_ARGUMENT,
        "spec.data.evaluation: pvc://inputs/reranker gives 3 scores per pair, and documents are ordered by one; leave "
        "the evaluation sets out, or set spec.model.numLabels to 1 for a new head",
    )


def test_problems_of_model_losses_and_columns_are_told_at_once(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    shutil.copytree(text_model, claim / "text")
    write_pages(claim / "pages", train=[{"query": "a red page", "image": png()}])
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a", "score": 1.0}])
    pages = {"name": "pages", "source": "pvc://inputs/pages", "columns": {"query": "query", "positive": "image"}}
    pairs = {
        "name": "pairs",
        "source": "pvc://inputs/qa",
        "columns": PAIRS,
        "loss": {"name": "CoSENTLoss", "arguments": {"scal": 1}, "matryoshkaDimensions": [1024]},
    }
    training = {"arguments": {"evaluation_strategy": "steps"}}
    run = make_run(model={"source": "pvc://inputs/text"}, data={"train": [pages, pairs]}, training=training)

    failure = failure_of(run)

    assert "spec.training.arguments.evaluation_strategy: 'steps' is wrong because" in failure.message
    assert failure.message.startswith("4 problems. 1) spec.data.train[0]: column image of dataset pages holds images, ")
    assert "spec.data.train[1].loss.arguments.scal: 1 is wrong because" in failure.message
    assert "spec.data.train[1].loss.matryoshkaDimensions: [1024] is wrong because" in failure.message


def test_a_learning_rate_for_weights_that_nobody_has_is_refused(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    shutil.copytree(text_model, claim / "text")
    write_jsonl(claim / "qa" / "train.jsonl", [{"query": "q", "positive": "a"}])
    run = make_run(
        model={"source": "pvc://inputs/text"},
        data={"train": [{"name": "qa", "source": "pvc://inputs/qa"}]},
        training={"learningRates": {"no_such_layer": 0.001}},
    )

    failure = failure_of(run)

    assert failure.reason is Reason.INVALID_ARGUMENT
    assert failure.message.startswith("spec.training.learningRates['no_such_layer']: is wrong because it matches no")


def test_a_learning_rate_for_weights_of_the_loss_is_accepted(make_run: MakeRun, claim: Path, text_model: Path) -> None:
    shutil.copytree(text_model, claim / "text")
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a", "score": 1}])
    run = make_run(
        model={"source": "pvc://inputs/text"},
        data={"train": [{"name": "qa", "source": "pvc://inputs/qa", "columns": PAIRS}]},
        training={
            "loss": {"name": "SoftmaxLoss", "arguments": {"num_labels": 2}},
            "learningRates": {"classifier": 0.001},
        },
    )

    result = prepare(run.config, run.settings)

    (train,) = InputsManifest.read(run.workspace.manifest).train
    assert result.reason is Reason.VALIDATED
    assert train.label is Label.CLASS


def float16_run(make_run: MakeRun, claim: Path, text_model: Path, arguments: dict[str, Any]) -> Run:
    shutil.copytree(text_model, claim / "text")
    write_jsonl(claim / "qa" / "train.jsonl", [{"query": f"q{n}", "positive": f"a{n}"} for n in range(2)])
    return make_run(
        model={"source": "pvc://inputs/text", "dtype": "float16"},
        data={"train": [{"name": "qa", "source": "pvc://inputs/qa"}]},
        training={"arguments": arguments, "perDeviceTrainBatchSize": 2},
    )


def test_an_optimizer_that_would_ruin_float16_weights_is_refused(
    make_run: MakeRun, claim: Path, text_model: Path
) -> None:
    failure = failure_of(float16_run(make_run, claim, text_model, {"optim": "adamw_torch"}))

    assert failure.reason is Reason.INVALID_ARGUMENT
    assert failure.message.startswith("spec.training.arguments.optim: 'adamw_torch' is wrong because")


def test_float16_weights_are_warned_about(make_run: MakeRun, claim: Path, text_model: Path) -> None:
    run = float16_run(make_run, claim, text_model, {})

    assert [warning.partition(":")[::2] for warning in prepare(run.config, run.settings).warnings] == [
        (
            "spec.model.dtype",
            " float16 without loss scaling: gradients below 6e-08 become 0, and values above 65504 infinite; use "
            "float32, which trains with bfloat16 autocast, or with scaled float16 under training.arguments.fp16",
        )
    ]
