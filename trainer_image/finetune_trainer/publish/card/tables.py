"""Numbers of a run as Markdown tables."""

from collections.abc import Iterable, Sequence

from finetune_api.status import EvaluationScore
from finetune_trainer.publish.card.naming import metric_name
from finetune_trainer.workspace.report import CurvePoint

_CURVE_ROWS = 12


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    marks = ["---", *["---:" for _ in header[1:]]]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, marks, *rows])


def score_table(scores: Sequence[EvaluationScore]) -> str:
    """Return one row per metric: before, after, difference, and the interval of that where one is known."""
    header = ["Metric", "before", "after", "difference"]
    rows = [
        [f"{metric_name(score.metric)}, {score.name}", *_before_after(score.baseline, score.final)] for score in scores
    ]
    confidences = [score.confidence for score in scores if score.confidence is not None]
    if confidences:
        header.append(f"{confidences[0] * 100:g} % interval")
        rows = [[*row, _interval(score)] for row, score in zip(rows, scores, strict=True)]
    return table(header, rows)


def dimension_table(score: EvaluationScore) -> str:
    """Return one row per embedding size."""
    rows = [(str(entry.dimension), *_before_after(entry.baseline, entry.final)) for entry in score.dimensions]
    return table(("Dimensions", "before", "after", "difference"), rows)


def seconds_table(seconds: dict[str, float]) -> str:
    """Return one row per stage."""
    return table(("Stage", "seconds"), [(stage, f"{spent:.1f}") for stage, spent in seconds.items()])


def curve_table(curve: Sequence[CurvePoint], *, metric: str) -> str:
    """Return the training curve, thinned to about a dozen rows; every measured score is kept."""
    stride = max(1, len(curve) // _CURVE_ROWS)
    last = len(curve) - 1
    kept = [point for i, point in enumerate(curve) if point.score is not None or i % stride == 0 or i == last]
    rows = [(str(point.step), _number(point.loss), _number(point.score), _rate(point.learning_rate)) for point in kept]
    return table(("Step", "loss", metric_name(metric), "learning rate"), rows)


def version_table(versions: dict[str, str]) -> str:
    """Return one row per package."""
    return table(("Package", "version"), sorted(versions.items()))


def _before_after(baseline: float | None, final: float | None) -> tuple[str, str, str]:
    change = "" if baseline is None or final is None else f"{final - baseline:+.4f}"
    return _number(baseline), _number(final), change


def _interval(score: EvaluationScore) -> str:
    low, high = score.improvement_low, score.improvement_high
    return "" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.2e}"
