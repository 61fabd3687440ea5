"""The pictures of a model card: what its tables say, at a glance."""

from collections.abc import Sequence

from finetune_api.contract import RunConfig
from finetune_trainer.publish.card.naming import metric_name
from finetune_trainer.publish.card.plot import Line, Point, Tick, plot, step_ticks
from finetune_trainer.publish.gate import main_score
from finetune_trainer.workspace.report import Report

BEFORE, AFTER = "#d97706", "#2563eb"
LOSS, SCORE, DIMENSIONS = "loss", "score", "dimensions"


def draw_pictures(config: RunConfig, report: Report) -> dict[str, bytes]:
    """Return loss, score and dimensions as PNG by name; one without a line to draw is left out."""
    metric, ticks = metric_name(config.spec.evaluation.metric), step_ticks(report.total_steps)
    losses = [(point.step, point.loss) for point in report.curve if point.loss is not None]
    main, sizes = main_score(report.evaluations, config.spec), []
    if main is not None:
        sizes = sorted(main.dimensions, key=lambda size: size.dimension)
    pictures: dict[str, tuple[str, list[Line], list[Tick]]] = {
        LOSS: ("Training loss", [Line("loss", AFTER, losses)], ticks),
        SCORE: (f"{metric} while training", _score_lines(report), ticks),
        DIMENSIONS: (
            f"{metric} by dimensions",
            [
                Line("base model", BEFORE, _known([size.baseline for size in sizes])),
                Line("finetuned", AFTER, _known([size.final for size in sizes])),
            ],
            [(place, str(size.dimension)) for place, size in enumerate(sizes)],
        ),
    }
    return {
        name: plot(title, drawn, ticks=places)
        for name, (title, lines, places) in pictures.items()
        if (drawn := [line for line in lines if len(line.points) > 1])
    }


def _score_lines(report: Report) -> list[Line]:
    """Return the scores while training, from that of the base model on, and this one across."""
    scores: list[Point] = [(point.step, point.score) for point in report.curve if point.score is not None]
    baseline = report.metrics.baseline_score
    if baseline is None or not scores:
        return [Line("finetuned", AFTER, scores)]
    across = [(0, baseline), (report.total_steps, baseline)]
    return [Line("base model", BEFORE, across), Line("finetuned", AFTER, [(0, baseline), *scores])]


def _known(values: Sequence[float | None]) -> list[Point]:
    return [(place, value) for place, value in enumerate(values) if value is not None]
