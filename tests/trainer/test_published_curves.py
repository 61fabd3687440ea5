"""What is published of a training besides its tables: curves for TensorBoard, and pictures."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from finetune_trainer.publish.card.pictures import draw_pictures
from finetune_trainer.publish.card.plot import HEIGHT, WIDTH, Line, plot, step_ticks
from finetune_trainer.publish.events import write_events
from finetune_trainer.publish.model_files import list_model_files
from finetune_trainer.publish.written import write_beside
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import CurvePoint, Report
from tests.trainer.conftest import MakeRun, Run
from tests.trainer.publishing import finished_run

COLOURS = {"blue": (37, 99, 235), "orange": (217, 119, 6), "white": (255, 255, 255)}


@pytest.fixture
def run(make_run: MakeRun, small_model: Path) -> Run:
    return finished_run(make_run, small_model)


def read_back(folder: Path) -> dict[str, list[tuple[float, int, float]]]:
    """Return the time, the step and the value of every point, as TensorBoard reads them, by the name of its curve."""
    found = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.wall_time, event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def single(value: float) -> float:
    """Return the value as 32 bits hold it, as events do."""
    return float(np.float32(value))


def colour(image: Image.Image, x: int, y: int) -> str:
    """Return which of the colours a pixel is like; lines are smoothed."""
    pixel = np.array(image.getpixel((x, y)))
    return min(COLOURS, key=lambda name: float(np.abs(pixel - COLOURS[name]).sum()))


def test_tensorboard_reads_every_point_of_the_record(run: Run, tmp_path: Path) -> None:
    report = Report.read(run.workspace.report)

    write_events(tmp_path / "events.out.tfevents.7", report, metric="ndcg@10", time=7.0)

    steps = [point for point in report.curve if point.loss is not None]
    assert read_back(tmp_path) == {
        "train/loss": [(7.0, point.step, single(point.loss or 0)) for point in steps],
        "train/learning_rate": [(7.0, point.step, single(point.learning_rate or 0)) for point in steps],
        "eval/ndcg@10": [(7.0, 0, single(0.1)), (7.0, 10, single(0.5)), (7.0, 20, single(0.8))],
    }


def test_a_loss_that_was_no_number_is_no_point(run: Run, tmp_path: Path) -> None:
    report = Report.read(run.workspace.report)
    bare = report.model_copy(
        update={"curve": [CurvePoint(step=1, loss=None, learning_rate=0.5)], "metrics": type(report.metrics)()}
    )

    write_events(tmp_path / "events.out.tfevents.7", bare, metric="ndcg@10", time=7.0)

    assert read_back(tmp_path) == {"train/learning_rate": [(7.0, 1, 0.5)]}


def test_what_is_written_for_equal_runs_is_equal(run: Run) -> None:
    report, inputs = Report.read(run.workspace.report), InputsManifest.read(run.workspace.manifest)

    model = list_model_files(run.workspace.model).files
    contents = []
    for _ in range(2):
        found = write_beside(model, run.config, run.workspace, report, inputs, base_cards=[])
        contents.append({path: file.read_bytes() for path, file in found.items()})

    ended = int(run.workspace.report.stat().st_mtime)
    assert contents[0] == contents[1]
    assert list(contents[0]) == [
        "README.md",
        "finetunejob.json",
        f"runs/{run.id}/events.out.tfevents.{ended}",
        *(f"runs/{run.id}/{name}.png" for name in ("loss", "score", "dimensions")),
    ]
    card = contents[0]["README.md"].decode()
    assert [line for line in card.splitlines() if line.startswith("![")] == [
        f"![Score while training](runs/{run.id}/score.png)",
        f"![Score by dimensions](runs/{run.id}/dimensions.png)",
        f"![Training loss](runs/{run.id}/loss.png)",
    ]


def test_a_line_goes_through_its_points_from_one_end_of_the_axis_to_the_other() -> None:
    lines = [Line("up", "#2563eb", [(0, 0), (10, 1)]), Line("across", "#d97706", [(0, 0.5), (10, 0.5)])]

    image = Image.open(io.BytesIO(plot("title", lines, ticks=step_ticks(10))))

    # The axes end 64 and 24 pixels from the sides, 40 and 32 from above and below.
    assert image.size == (WIDTH, HEIGHT)
    assert [colour(image, x, y) for x, y in [(66, 267), (694, 41)]] == ["blue", "blue"]
    assert [colour(image, x, y) for x, y in [(100, 154), (600, 154), (100, 120)]] == ["orange", "orange", "white"]


def test_what_is_one_point_or_none_is_no_picture(make_run: MakeRun, small_model: Path) -> None:
    run = finished_run(make_run, small_model, evaluations=[])
    report = Report.read(run.workspace.report)
    once = [CurvePoint(step=20, loss=0.5), CurvePoint(step=20, score=0.8)]

    drawn = draw_pictures(run.config, report.model_copy(update={"curve": once}))
    nothing = draw_pictures(run.config, report.model_copy(update={"curve": []}))

    assert list(drawn) == ["score"]
    assert nothing == {}


def test_an_axis_of_steps_has_each_step_once() -> None:
    assert step_ticks(2) == [(0, "0"), (1, "1"), (2, "step 2")]
    assert step_ticks(288) == [(0, "0"), (72, "72"), (144, "144"), (216, "216"), (288, "step 288")]
