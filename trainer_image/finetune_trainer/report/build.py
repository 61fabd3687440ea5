"""The report and the result of a finished training, made of what was measured."""

import platform
from importlib.metadata import version

import finetune_api
from finetune_api.contract import Progress, Role, RunResult, Stage, round_significant
from finetune_api.reasons import Reason
from finetune_api.status import DimensionScore, EvaluationScore
from finetune_trainer.evaluation.evaluate import Scores
from finetune_trainer.report.schema import Report

PACKAGES = ("torch", "sentence-transformers", "transformers", "accelerate", "datasets")


def compare(baseline: Scores | None, final: Scores | None) -> list[EvaluationScore]:
    """Return each metric before and after, the spec's first and with its dimensions."""
    known = final or baseline
    if known is None:
        return []
    return [
        EvaluationScore(
            name=known.name,
            metric=metric,
            baseline=rounded(baseline.values.get(metric) if baseline else None),
            final=rounded(final.values.get(metric) if final else None),
            dimensions=compare_dimensions(baseline, final) if metric == known.metric else [],
        )
        for metric in known.values
    ]


def compare_dimensions(baseline: Scores | None, final: Scores | None) -> list[DimensionScore]:
    """Return the spec's metric before and after for each Matryoshka dimension, largest first."""
    known = final or baseline
    assert known is not None, "called with at least one"
    return [
        DimensionScore(
            dimension=dimension,
            baseline=rounded(baseline.dimensions.get(dimension) if baseline else None),
            final=rounded(final.dimensions.get(dimension) if final else None),
        )
        for dimension in known.dimensions
    ]


def rounded(value: float | None) -> float | None:
    """Return the value as it appears in status."""
    return None if value is None else round_significant(value)


def versions() -> dict[str, str]:
    """Return the version of every package that the numbers depend on."""
    ours = {"python": platform.python_version(), "finetune-operator": finetune_api.__version__}
    return {**ours, **{package: version(package) for package in PACKAGES}}


def result_of(report: Report, told: Progress) -> RunResult:
    """Return the good end that a report stands for, with what this attempt told of itself."""
    main = report.evaluations[0] if report.evaluations else None
    scores = f", {main.metric} {main.baseline} before and {main.final} after" if main else ""
    done = {"stage": Stage.DONE, "step": report.steps, "total_steps": report.total_steps, "percent": 100}
    return RunResult(
        role=Role.TRAIN,
        reason=Reason.TRAINED,
        message=f"{report.steps} steps made{scores}",
        attempt=told.attempt,
        model=report.model,
        progress=told.progress.model_copy(update=done),
        metrics=report.metrics,
        evaluations=report.evaluations,
        checkpoint=told.checkpoint,
        warnings=report.warnings,
    )
