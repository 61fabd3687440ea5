"""What a tracker is told of a job, in nobody's form: parameters, values over steps and of the whole, tags, files.

Trackers only add. So while a gang trains, its tracker has what the newest checkpoint keeps, and nothing that the next
attempt would make again with other values.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from finetune_api.contract import TRAINED_FIELDS, RunConfig, TrackingTask, TrainingGang
from finetune_api.status import MetricsStatus, Phase
from finetune_api.types import GROUP
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import HISTORY, CurvePoint, KeptCurve, Report
from finetune_trainer.workspace.verify import read_manifest

#: By these two a repeated pod finds its own run.
TAG_UID, TAG_RUN = f"{GROUP}/job-uid", f"{GROUP}/run"


@dataclass(frozen=True, order=True)
class Point:
    """One value after one step."""

    step: int
    name: str
    """`train/loss`, `train/learning_rate`, `eval/score`, or `eval/SET/METRIC`."""
    value: float
    milliseconds: int
    """When it was measured, since 1970; where nobody knows, when the job ended, or began if it has not."""


@dataclass(frozen=True)
class Record:
    """All of one job."""

    name: str
    uid: str
    run: str
    has_succeeded: bool
    started: int
    """Milliseconds since 1970, as all times here."""
    ended: int | None
    """None while it trains."""
    parameters: dict[str, str]
    """The recipe, flat: `training.learning_rate`, `data.train.0.source`."""
    points: list[Point]
    """By step."""
    tags: dict[str, str]
    summary: dict[str, float] = field(default_factory=dict)
    """Values of the whole: before, best, at the end, what it has cost."""
    files: list[Path] = field(default_factory=list)
    """The report, and the pictures that publish has drawn."""


class _Kept(BaseModel):
    """The part of a checkpoint's history that is told."""

    curve: list[CurvePoint] = Field(default_factory=list)


def make_record(config: RunConfig, task: TrackingTask, workspace: Workspace, inputs: InputsManifest) -> Record:
    """Return what a tracker is told, read from the volume; of a training that has failed, as far as it was saved."""
    report = _own_report(workspace, inputs.run)
    ended = _milliseconds(task.completion_time) or 0
    curve = report.curve if report is not None else _saved_curve(workspace, inputs.run)
    score = _numbers(report, task).baseline_score
    return Record(
        name=f"{config.job.namespace}/{config.job.name}",
        uid=config.job.uid,
        run=inputs.run,
        has_succeeded=task.phase is Phase.SUCCEEDED,
        started=_milliseconds(task.start_time) or ended,
        ended=ended,
        parameters=_parameters(config),
        points=sorted([*_baseline(report, otherwise=ended), *_points(score, curve, otherwise=ended)]),
        summary=dict(_summary(report, task)),
        tags=dict(_tags(config, task, inputs.run, inputs.sources, report)),
        files=[] if report is None else [workspace.report, *_pictures(workspace, inputs.run)],
    )


def make_record_of_training(config: RunConfig, task: TrackingTask, training: TrainingGang, kept: KeptCurve) -> Record:
    """Return what a tracker is told while a gang trains, from what its rank 0 answers."""
    started = _milliseconds(task.start_time) or 0
    return Record(
        name=f"{config.job.namespace}/{config.job.name}",
        uid=config.job.uid,
        run=training.run,
        has_succeeded=False,
        started=started,
        ended=None,
        parameters=_parameters(config),
        points=sorted(_points(kept.baseline_score, kept.curve, otherwise=started)),
        tags=dict(_tags(config, task, training.run, {}, None)),
    )


def _parameters(config: RunConfig) -> dict[str, str]:
    return dict(_flat(config.spec.model_dump(mode="json", include=set(TRAINED_FIELDS), exclude_none=True)))


def _own_report(workspace: Workspace, run: str) -> Report | None:
    try:
        report = Report.read(workspace.report)
    except (FileNotFoundError, ValueError):
        return None
    return report if report.run == run else None


def _saved_curve(workspace: Workspace, run: str) -> list[CurvePoint]:
    """Return the curve of the newest checkpoint of this run; its weights are nobody's concern here."""
    found = [(manifest.step, path) for path, manifest in _manifests(workspace) if manifest.run == run]
    for _, path in sorted(found, reverse=True):
        try:
            return _Kept.model_validate_json((path / HISTORY).read_bytes()).curve
        except (OSError, ValueError):
            continue
    return []


def _manifests(workspace: Workspace) -> Iterator[tuple[Path, Any]]:
    for path in workspace.checkpoints.glob("step-*"):
        if (manifest := read_manifest(path)) is not None:
            yield path, manifest


def _numbers(report: Report | None, task: TrackingTask) -> MetricsStatus:
    return report.metrics if report is not None else task.metrics or MetricsStatus()


def _baseline(report: Report | None, *, otherwise: int) -> Iterator[Point]:
    for one in report.evaluations if report is not None else ():
        if one.baseline is not None:
            yield Point(0, f"eval/{one.name}/{one.metric}", one.baseline, otherwise)


def _points(baseline_score: float | None, curve: Iterable[CurvePoint], *, otherwise: int) -> Iterator[Point]:
    if baseline_score is not None:
        yield Point(0, "eval/score", baseline_score, otherwise)
    for point in curve:
        time = _milliseconds(point.time) or otherwise
        values = {"train/loss": point.loss, "train/learning_rate": point.learning_rate, "eval/score": point.score}
        values |= {f"eval/{name}": value for name, value in point.scores.items()}
        yield from (Point(point.step, name, value, time) for name, value in values.items() if value is not None)


def _summary(report: Report | None, task: TrackingTask) -> Iterator[tuple[str, float]]:
    metrics = _numbers(report, task)
    told: dict[str, float | int | None] = {
        "last_step": report.steps if report is not None else task.step,
        "last_loss": metrics.train_loss,
        "baseline_score": metrics.baseline_score,
        "best_score": metrics.best_score,
        "best_step": metrics.best_step,
        "final_score": report.evaluations[0].final if report is not None and report.evaluations else None,
    }
    for one in report.evaluations if report is not None else ():
        told |= {f"baseline/{one.name}/{one.metric}": one.baseline, f"final/{one.name}/{one.metric}": one.final}
    if task.usage is not None:
        seconds = task.usage.model_dump(exclude={"of", "time"})
        told |= {f"usage/{name}": value for name, value in seconds.items()}
    if report is not None:
        told |= {f"seconds/{stage}": seconds for stage, seconds in report.seconds.items()}
    yield from ((name, float(value)) for name, value in told.items() if value is not None and math.isfinite(value))


def _tags(
    config: RunConfig, task: TrackingTask, run: str, sources: Mapping[str, str], report: Report | None
) -> Iterator[tuple[str, str]]:
    published, model = task.published, config.spec.model
    told = {
        TAG_UID: config.job.uid,
        TAG_RUN: run,
        f"{GROUP}/job": config.job.name,
        f"{GROUP}/namespace": config.job.namespace,
        f"{GROUP}/phase": task.phase.value,
        f"{GROUP}/reason": task.reason,
        f"{GROUP}/message": task.message,
        f"{GROUP}/attempts": str(task.attempts),
        f"{GROUP}/metric": config.spec.evaluation.metric,
        f"{GROUP}/model": model.source,
        f"{GROUP}/published.repository": published.repository if published is not None else None,
        f"{GROUP}/published.commit": published.commit if published is not None else None,
        f"{GROUP}/published.url": published.url if published is not None else None,
        f"{GROUP}/usage.of": task.usage.of if task.usage is not None else None,
    }
    # `spec.data.train[0]` would be refused by MLflow.
    told |= {
        f"{GROUP}/revision.{field.removeprefix('spec.').replace('[', '.').replace(']', '')}": revision
        for field, revision in sources.items()
    }
    versions = report.versions if report is not None else {}
    told |= {f"{GROUP}/version.{package}": version for package, version in versions.items()}
    yield from ((name, value) for name, value in told.items() if value)


def _pictures(workspace: Workspace, run: str) -> list[Path]:
    """Return what publish has drawn of this run, if it came to that."""
    return sorted(workspace.receipt.parent.rglob(f"{run}/*.png"))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield name, str(value)
        return
    for key, part in parts:
        yield from _flat(part, f"{name}.{key}" if name else str(key))


def _milliseconds(time: str | None) -> int | None:
    return None if time is None else round(datetime.fromisoformat(time).timestamp() * 1000)
