"""A training's curves as TensorBoard reads them: the Hub shows a tab of metrics where such a file lies."""

from collections.abc import Iterator
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from finetune_trainer.workspace.report import Report

VERSION = "brain.Event:2"


def write_events(path: Path, report: Report, *, metric: str, time: float) -> None:
    """Write every point of the report's curve, and the base model's score as that of step 0.

    All events have one time, in seconds since 1970: a report knows steps.
    """
    with path.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=time, file_version=VERSION).SerializeToString())
        for step, tag, value in _scalars(report, metric):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.write(Event(wall_time=time, step=step, summary=summary).SerializeToString())


def _scalars(report: Report, metric: str) -> Iterator[tuple[int, str, float]]:
    baseline = report.metrics.baseline_score
    if baseline is not None:
        yield 0, f"eval/{metric}", baseline
    for point in report.curve:
        values = {"train/loss": point.loss, "train/learning_rate": point.learning_rate, f"eval/{metric}": point.score}
        yield from ((point.step, tag, value) for tag, value in values.items() if value is not None)
