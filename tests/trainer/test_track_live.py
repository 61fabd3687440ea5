"""Telling an MLflow server of a gang while it trains: what is told, when, and that nothing is told twice."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from finetune_api.contract import TrainingGang
from finetune_api.reasons import Reason
from finetune_api.status import CheckpointStatus, MetricsStatus
from finetune_trainer.track.live import LOOK_EVERY_SECONDS, MOST_UNANSWERED, tell_while_training
from finetune_trainer.track.mlflow_run import tell_mlflow
from finetune_trainer.track.record import Record
from finetune_trainer.train.report.history import History
from finetune_trainer.train.report.telemetry import serve_telemetry
from finetune_trainer.train.report.tracker import Step, Tracker
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.report import CurvePoint, Report
from tests.tracker import RunningMlflow
from tests.trainer.conftest import Run
from tests.trainer.test_track import (
    ACCOUNT,
    WHEN,
    client_of,
    mlflow,
    own_environment,
    points_of,
    run,
    runs_of,
    server,
    task,
    told,
)

__all__ = ["own_environment", "run", "server"]
Tell = Callable[[Record], Any]


class EndedError(Exception):
    """The pod was ended with its gang."""


def points(*steps: int, loss: float = 1.0) -> list[CurvePoint]:
    return [CurvePoint(step=step, loss=loss, time="2026-11-25T10:00:00Z") for step in steps]


def live(run: Run, port: int, tell: Tell, *acts: Callable[[], object], attempt: int = 1) -> list[float]:
    """Look once more after each act, until the gang has ended; return how long each wait was to be."""
    waits: list[float] = []
    left = list(acts)

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if not left:
            raise EndedError
        left.pop(0)()

    training = TrainingGang(attempt=attempt, run=run.id, address="127.0.0.1")
    fields = {"phase": "Training", "reason": "Training", "training": training, "usage": None, "published": None}
    with pytest.raises(EndedError):
        tell_while_training(run.config, task(mlflow("http://x"), **fields), tell=tell, port=port, wait=wait)
    return waits


def telling(server: RunningMlflow) -> Tell:
    tracking = task(mlflow(server.uri)).tracking.mlflow
    assert tracking is not None
    return partial(tell_mlflow, tracking, secret=ACCOUNT.settings())


@pytest.fixture
def tracker(run: Run) -> Tracker:
    """That of rank 0, which has begun to train."""
    tracker = Tracker(attempt=1, job_uid=run.config.job.uid)
    tracker.begin(step=0, total_steps=20)
    return tracker


@pytest.fixture
def port(tracker: Tracker) -> Iterator[int]:
    with serve_telemetry(tracker, port=0) as port:
        yield port


def save(tracker: Tracker, *steps: int) -> None:
    tracker.saved(CheckpointStatus(step=steps[-1]), History(curve=points(*steps)))


def test_what_a_checkpoint_keeps_is_told_while_training_goes_on_and_the_end_adds_the_rest(
    run: Run, server: RunningMlflow, tracker: Tracker, port: int
) -> None:
    kept = Report.read(run.workspace.report).curve[:2]
    live(run, port, telling(server), lambda: tracker.saved(CheckpointStatus(step=2), History(curve=kept)))
    (begun,) = runs_of(server, run)
    seen = points_of(server, "train/loss", begun.info.run_id)
    told(run, mlflow(server.uri), ACCOUNT.settings())

    (ended,) = runs_of(server, run)
    assert (begun.info.status, seen) == ("RUNNING", [(1, 2.0, WHEN), (2, 1.0, WHEN)])
    assert (ended.info.status, ended.info.run_id) == ("FINISHED", begun.info.run_id)
    whole = [(step, 2.0 / step, WHEN) for step in range(1, 21)]
    assert points_of(server, "train/loss", begun.info.run_id) == whole


def test_steps_that_the_next_gang_makes_again_are_told_once_and_in_the_same_run(
    run: Run, server: RunningMlflow, tracker: Tracker, port: int
) -> None:
    unsaved = Step(number=3, epoch=0, loss=9.0, learning_rate=0.1, grad_norm=1.0, rows=1, seconds=1.0)
    live(run, port, telling(server), lambda: save(tracker, 1, 2), lambda: tracker.made(unsaved, in_curve=True))
    second = Tracker(attempt=2, job_uid=run.config.job.uid)
    with serve_telemetry(second, port=0) as other:
        live(
            run,
            other,
            telling(server),
            lambda: second.resume(History(curve=points(1, 2)), CheckpointStatus(step=2)),
            lambda: second.begin(step=2, total_steps=20),
            lambda: save(second, 1, 2, 3),
            attempt=2,
        )

    (found,) = runs_of(server, run)
    assert points_of(server, "train/loss", found.info.run_id) == [(step, 1.0, WHEN) for step in (1, 2, 3)]


def test_a_tracker_that_is_away_is_told_all_once_it_is_back_and_nothing_twice(
    run: Run, tracker: Tracker, port: int
) -> None:
    heard: list[list[int]] = []
    is_away = True

    def tell(record: Record) -> Any:  # noqa: ANN401 - as of a tracker
        if is_away:
            raise RunFailure(Reason.TRACKER_UNAVAILABLE, "away")
        heard.append([point.step for point in record.points])
        return (task_status, [])

    def come_back() -> None:
        nonlocal is_away
        is_away = False

    task_status = RecordingStatus()
    waits = live(run, port, tell, lambda: save(tracker, 1), lambda: save(tracker, 1, 2), come_back, lambda: None)

    assert heard == [[1, 2]]
    assert waits == [LOOK_EVERY_SECONDS] * 5


class RecordingStatus:
    """What a tracker has, as far as it is logged."""

    url, points = "http://mlflow/1", 2


def test_a_tracker_that_refuses_ends_the_pod_with_its_words(run: Run, port: int) -> None:
    def refuse(_: Record) -> Any:  # noqa: ANN401 - as of a tracker
        raise RunFailure(Reason.TOKEN_REFUSED, "the Secret lacks its key")

    training = TrainingGang(attempt=1, run=run.id, address="127.0.0.1")
    asked = task(mlflow("http://x"), phase="Training", reason="Training", training=training)

    with pytest.raises(RunFailure, match="the Secret lacks its key"):
        tell_while_training(run.config, asked, tell=refuse, port=port)


@pytest.mark.parametrize("other", [{"attempt": 2}, {"job_uid": "another"}], ids=["gang", "job"])
def test_the_pod_ends_where_the_one_that_answers_is_another(run: Run, tracker: Tracker, other: dict[str, Any]) -> None:
    training = TrainingGang(attempt=1, run=run.id, address="127.0.0.1")
    asked = task(mlflow("http://x"), phase="Training", reason="Training", training=training)
    waits: list[float] = []
    untold: Tell = lambda _: pytest.fail("nothing is to be told")  # noqa: E731 - one word

    with serve_telemetry(replace(tracker, **other), port=0) as port:
        result = tell_while_training(run.config, asked, tell=untold, port=port, wait=waits.append)

    assert (result.reason, len(waits)) == (Reason.TRACKED, MOST_UNANSWERED)


def test_a_training_that_failed_before_it_kept_anything_leaves_a_run_with_what_was_known(
    run: Run, server: RunningMlflow
) -> None:
    run.workspace.report.unlink()
    known = MetricsStatus(train_loss=9.5, baseline_score=0.25)

    told(
        run,
        mlflow(server.uri),
        ACCOUNT.settings(),
        phase="Failed",
        reason="NonFiniteLoss",
        message="the loss was no number",
        step=4,
        metrics=known,
        usage=None,
        published=None,
    )

    (found,) = runs_of(server, run)
    assert found.info.status == "FAILED"
    assert found.data.tags["finetune.dev/message"] == "the loss was no number"
    assert {"last_step": 4.0, "last_loss": 9.5, "baseline_score": 0.25}.items() <= found.data.metrics.items()
    assert client_of(server).get_metric_history(found.info.run_id, "train/loss") == []
