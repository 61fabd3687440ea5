"""The report and the result of a finished training, made of what was measured."""

import platform
from importlib.metadata import version

import finetune_api
from finetune_api.contract import Progress, Role, RunResult, Stage
from finetune_api.reasons import Reason
from finetune_trainer.workspace.outline import outline
from finetune_trainer.workspace.report import Report

PACKAGES = ("torch", "sentence-transformers", "transformers", "accelerate", "datasets")


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
        curve=outline(report.curve),
        evaluations=report.evaluations,
        checkpoint=told.checkpoint,
        work=told.work,
        warnings=report.warnings,
    )
