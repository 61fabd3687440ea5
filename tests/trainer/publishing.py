"""A job that has finished training, for tests of publish and the card: workspace filled as prepare and train do."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune_api.status import (
    DatasetStatus,
    DimensionScore,
    EvaluationScore,
    MetricsStatus,
    ModelStatus,
)
from finetune_trainer.workspace.manifest import Column, InputsManifest, PreparedEvaluation, PreparedTrain
from finetune_trainer.workspace.report import CurvePoint, Report
from tests.trainer.conftest import MakeRun, Run, run_in

REPOSITORY = "demo/finetuned"

DATASETS = [
    DatasetStatus(name="pages", revision="d" * 40, rows=4),
    DatasetStatus(name="held-out", revision="d" * 40, rows=2),
]
MODEL = ModelStatus(revision="b" * 40, modalities=["text", "image"], embedding_dimension=64)


def scores(*, baseline: float = 0.1, final: float = 0.8) -> list[EvaluationScore]:
    sizes = [DimensionScore(dimension=64, baseline=baseline, final=final), DimensionScore(dimension=32, final=0.6)]
    return [
        EvaluationScore(name="held-out", metric="ndcg@10", baseline=baseline, final=final, dimensions=sizes),
        EvaluationScore(name="held-out", metric="mrr@10", baseline=0.05, final=0.7),
        EvaluationScore(name="held-out", metric="recall@10", baseline=0.2, final=0.9),
    ]


def make_run_in(folder: Path) -> MakeRun:
    """Return what makes runs in a folder of their own: a workspace belongs to one run."""
    folder.mkdir()
    return lambda **spec: run_in(folder, spec)


def with_if_exists(run: Run, policy: str) -> Run:
    """Return the run with another `publish.ifExists`."""
    spec = run.config.spec
    assert spec.publish is not None
    spec = spec.model_copy(update={"publish": spec.publish.model_copy(update={"if_exists": policy})})
    return replace(run, config=run.config.model_copy(update={"spec": spec}))


def finished_run(
    make_run: MakeRun,
    model: Path,
    *,
    evaluations: list[EvaluationScore] | None = None,
    sections: dict[str, Any] | None = None,
    prepared: dict[str, Any] | None = None,
    **publish: Any,  # noqa: ANN401 - fields of spec.publish as YAML has them
) -> Run:
    """Return a run whose training has ended with `model` and these scores.

    `sections` replace parts of the spec, `prepared` parts of the manifest.
    """
    columns = {"query": "query", "positive": "image"}
    spec: dict[str, Any] = {
        "model": {"source": "hf://demo/tiny", "prompts": {"query": "Find the page: "}},
        "data": {
            "train": [{"name": "pages", "source": "hf://demo/pages", "columns": columns}],
            "evaluation": [{"name": "held-out", "source": "hf://demo/pages", "columns": columns}],
        },
        "training": {"loss": {"matryoshkaDimensions": [64, 32]}},
        "publish": {"repository": REPOSITORY, "tokenSecret": {"name": "hub-token-of-search"}, **publish},
    }
    run = make_run(**spec | (sections or {}))
    write_manifest(run, prepared or {})
    shutil.copytree(model, run.workspace.model)
    write_report(run, scores() if evaluations is None else evaluations)
    return run


def write_manifest(run: Run, prepared: dict[str, Any]) -> None:
    run.workspace.base_model.mkdir(parents=True, exist_ok=True)
    (run.workspace.base_model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    manifest = InputsManifest(
        spec_hash=run.config.spec_hash,
        run=run.id,
        uid=run.config.job.uid,
        sources={},
        model=MODEL,
        train=[
            PreparedTrain(
                name="pages",
                columns=[Column(name="query", modality="text"), Column(name="positive", modality="image")],
                rows=4,
            )
        ],
        evaluations=[
            PreparedEvaluation(name="held-out", query_modality="text", corpus_modality="image", queries=2, documents=2)
        ],
        datasets=DATASETS,
        files=[],
    )
    manifest.model_copy(update=prepared).write(run.workspace.manifest)


def write_report(run: Run, evaluations: list[EvaluationScore]) -> None:
    Report(
        run=InputsManifest.read(run.workspace.manifest).run,
        model=MODEL,
        datasets=DATASETS,
        evaluations=evaluations,
        metrics=MetricsStatus(train_loss=0.5, score=0.8, baseline_score=0.1),
        steps=20,
        total_steps=20,
        seconds={"Baseline": 1.5, "Training": 20.25},
        curve=[
            *(CurvePoint(step=step, loss=2.0 / step, learning_rate=1e-5) for step in range(1, 21)),
            CurvePoint(step=10, score=0.5),
            CurvePoint(step=20, score=0.8),
        ],
        world_size=2,
        versions={"torch": "2.15.0", "sentence-transformers": "6.2.0"},
    ).write(run.workspace.report)
