"""What trainer containers found out, merged into status."""

from collections.abc import Sequence
from typing import Any, TypeVar

from finetune_api.contract import MAX_WARNINGS, Progress, RunResult, Stage, round_significant
from finetune_api.status import (
    CurvePoint,
    EvaluationScore,
    FinetuneJobStatus,
    MetricsStatus,
    ProgressStatus,
    Told,
)
from finetune_api.telling import in_words

_Part = TypeVar("_Part", bound=Told)


def with_result(status: FinetuneJobStatus, result: RunResult | None) -> FinetuneJobStatus:
    """Return the status with everything that a container's result says; what it does not say stays."""
    if result is None:
        return status
    update: dict[str, Any] = {
        "run": result.run or status.run,
        "model": _merged(status.model, result.model),
        "datasets": result.datasets or status.datasets,
        "metrics": merge_metrics(status.metrics, result.metrics),
        "curve": _rounded_curve(result.curve) or status.curve,
        "evaluations": [_rounded(score) for score in result.evaluations] or status.evaluations,
        "progress": in_words(result.progress) if result.progress else status.progress,
        "checkpoint": result.checkpoint or status.checkpoint,
        "published": result.published or status.published,
        "tracking": result.tracking or status.tracking,
        "warnings": merge_warnings(status.warnings, result.warnings),
    }
    return status.model_copy(update=update)


def with_progress(status: FinetuneJobStatus, progress: Progress) -> FinetuneJobStatus:
    """Return the status with what rank 0 answered."""
    return status.model_copy(
        update={
            "progress": in_words(progress.progress),
            "metrics": merge_metrics(status.metrics, progress.metrics),
            "curve": _rounded_curve(progress.curve) or status.curve,
            "checkpoint": progress.checkpoint or status.checkpoint,
            "warnings": merge_warnings(status.warnings, progress.warnings),
        }
    )


def with_training_done(status: FinetuneJobStatus) -> FinetuneJobStatus:
    """Return the status with progress at its end."""
    progress = status.progress or ProgressStatus()
    end = {"stage": Stage.DONE.value, "percent": 100, "eta_seconds": None}
    return status.model_copy(update={"progress": in_words(progress.model_copy(update=end))})


def merge_metrics(old: MetricsStatus | None, new: MetricsStatus | None) -> MetricsStatus | None:
    """Return the newest known value of each metric, rounded; a number that is not reported any more stays."""
    merged = _merged(old, new)
    return merged and MetricsStatus(**{name: _round(value) for name, value in merged})


def _merged(old: _Part | None, new: _Part | None) -> _Part | None:
    """Return the older part with everything that the newer one says."""
    if old is None or new is None:
        return new or old
    return old.model_copy(update=new.model_dump(exclude_defaults=True))


def merge_warnings(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return each warning once, oldest first."""
    return list(dict.fromkeys([*old, *new]))[:MAX_WARNINGS]


def _rounded(score: EvaluationScore) -> EvaluationScore:
    dimensions = [
        item.model_copy(update={"baseline": _round(item.baseline), "final": _round(item.final)})
        for item in score.dimensions
    ]
    update = {"baseline": _round(score.baseline), "final": _round(score.final), "dimensions": dimensions}
    return score.model_copy(update=update)


def _rounded_curve(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    return [point.model_copy(update={"loss": _round(point.loss), "score": _round(point.score)}) for point in curve]


def _round(value: float | None) -> float | None:
    return round_significant(value) if isinstance(value, float) else value
