import json
import math
import platform
import resource
import socket
import struct
import threading
import time
import urllib.request
from http import HTTPStatus
from types import SimpleNamespace
from urllib.error import HTTPError

import pytest

from finetune_api import status
from finetune_api.contract import Progress, Stage, Work
from finetune_api.status import CheckpointStatus
from finetune_trainer.train.evaluation.measurement import Scores
from finetune_trainer.train.report.history import History, Made
from finetune_trainer.train.report.metrics import peak_resident_bytes
from finetune_trainer.train.report.telemetry import serve_telemetry
from finetune_trainer.train.report.tracker import Step, Tracker
from finetune_trainer.workspace.report import CurvePoint, KeptCurve
from finetune_trainer.workspace.telemetry import Page, serve_pages

SCORES = [
    Scores(name="held-out", metric="ndcg@10", values={"ndcg@10": 0.123456789, "mrr@10": 0.5}, dimensions={16: 0.25}),
    Scores(name="similar", metric="spearman", values={"spearman": 0.75}),
]


def step(number: int, *, loss: float = 1.5) -> Step:
    return Step(number=number, epoch=0.5, loss=loss, learning_rate=0.001, grad_norm=2.0, rows=16, seconds=0.2)


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def test_peak_memory_is_counted_in_the_units_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=2048))
    peaks = {}
    for system in ("Linux", "Darwin"):
        monkeypatch.setattr(platform, "system", lambda system=system: system)
        peaks[system] = peak_resident_bytes()

    assert peaks == {"Linux": 2048 * 1024, "Darwin": 2048}


def test_progress_answers_from_the_very_beginning() -> None:
    with serve_telemetry(Tracker(attempt=3), port=0) as port:
        answer = Progress.model_validate(json.loads(get(port, "/progress")))

    assert (answer.attempt, answer.progress.stage, answer.progress.step) == (3, "Loading", 0)
    assert answer.progress.last_update_time is not None
    assert answer.last_step_time is not None


def test_progress_and_metrics_tell_of_steps_scores_and_checkpoints() -> None:
    tracker = Tracker(attempt=1)
    tracker.measured_baseline(SCORES)
    tracker.begin(step=0, total_steps=8)
    tracker.enter(Stage.TRAINING)
    tracker.made(step(2), in_curve=True)
    tracker.measured(SCORES, step=2)
    tracker.improved(SCORES[0], step=2)
    tracker.saved(CheckpointStatus(step=2, time="2026-01-01T00:00:00Z"), tracker.history)
    tracker.left_out()

    with serve_telemetry(tracker, port=0) as port:
        answer = Progress.model_validate(json.loads(get(port, "/progress")))
        series = dict(line.rsplit(" ", 1) for line in get(port, "/metrics").splitlines() if not line.startswith("#"))

    assert (answer.progress.stage, answer.progress.step, answer.progress.total_steps) == ("Training", 2, 8)
    assert (answer.progress.percent, answer.progress.epoch, answer.progress.eta_seconds) == (25, 0.5, 0)
    assert answer.metrics.model_dump() == {
        "train_loss": 1.5,
        "learning_rate": 0.001,
        "score": 0.123457,
        "best_score": 0.123457,
        "best_step": 2,
        "baseline_score": 0.123457,
    }
    assert answer.checkpoint == CheckpointStatus(step=2, time="2026-01-01T00:00:00Z")
    assert answer.nonfinite_steps == 1
    assert answer.last_step_time is not None
    expected = {
        "finetune_train_loss": 1.5,
        "finetune_train_step": 2.0,
        "finetune_train_total_steps": 8.0,
        "finetune_train_learning_rate": 0.001,
        "finetune_train_grad_norm": 2.0,
        "finetune_train_samples_total": 16.0,
        "finetune_train_step_duration_seconds_count": 1.0,
        "finetune_train_nonfinite_steps_total": 1.0,
        "finetune_train_checkpoint_step": 2.0,
        'finetune_train_score{metric="ndcg@10"}': 0.123456789,
        'finetune_train_ndcg{metric="ndcg@10"}': 0.123456789,
        'finetune_train_best_score{metric="ndcg@10"}': 0.123456789,
        'finetune_train_best_ndcg{metric="ndcg@10"}': 0.123456789,
        'finetune_train_baseline_score{metric="ndcg@10"}': 0.123456789,
        'finetune_train_baseline_ndcg{metric="ndcg@10"}': 0.123456789,
        'finetune_eval_score{dataset="held-out",metric="ndcg@10"}': 0.123456789,
        'finetune_eval_score{dataset="similar",metric="spearman"}': 0.75,
        'finetune_eval_dimension_score{dataset="held-out",dimension="16",metric="ndcg@10"}': 0.25,
    }
    assert {name: float(series[name]) for name in expected} == expected
    assert float(series['finetune_train_memory_bytes{kind="resident"}']) > 1e6


def test_the_curve_that_is_told_while_training_is_that_of_the_newest_checkpoint() -> None:
    def ask() -> KeptCurve:
        return KeptCurve.model_validate_json(get(port, "/curve"))

    tracker = Tracker(attempt=2, job_uid="uid")
    earlier = History(curve=[CurvePoint(step=1, loss=3.0), CurvePoint(step=2, loss=2.0)])

    with serve_telemetry(tracker, port=0) as port:
        tracker.measured_baseline(SCORES)
        loading = ask()
        tracker.resume(earlier, CheckpointStatus(step=2))
        tracker.begin(step=2, total_steps=8)
        tracker.made(step(3), in_curve=True)
        resumed = ask()
        tracker.saved(CheckpointStatus(step=3), tracker.history)
        tracker.measured(SCORES, step=3)
        saved = ask()

    assert (loading.is_known, loading.curve) == (False, [])
    assert (resumed.attempt, resumed.job_uid, resumed.baseline_score) == (2, "uid", 0.123457)
    assert (resumed.is_known, [point.loss for point in resumed.curve]) == (True, [3.0, 2.0])
    assert [(point.step, point.loss, point.score) for point in saved.curve] == [
        (1, 3.0, None),
        (2, 2.0, None),
        (3, 1.5, None),
    ]


def test_whoever_hangs_up_before_the_answer_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    asked, gone = threading.Event(), threading.Event()
    answering: list[threading.Thread] = []

    def read() -> bytes:
        answering.append(threading.current_thread())
        asked.set()
        assert gone.wait(60)
        return bytes(10_000_000)

    with serve_pages({"/progress": Page(read, "text/plain")}, port=0) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /progress HTTP/1.0\r\n\r\n")
            assert asked.wait(60)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed with a reset
        gone.set()
        answering[0].join(60)

    assert [one.is_alive() for one in answering] == [False]
    assert capfd.readouterr().err == ""


def test_a_score_that_is_no_ndcg_is_no_series_of_that_name() -> None:
    tracker = Tracker(attempt=1)

    tracker.measured(SCORES[1:], step=2)

    registry = tracker.series.registry
    assert registry.get_sample_value("finetune_train_score", {"metric": "spearman"}) == 0.75
    assert registry.get_sample_value("finetune_train_ndcg", {"metric": "spearman"}) is None


def test_after_a_restart_the_series_hold_the_newest_scores_and_not_those_of_the_base_model() -> None:
    tracker = Tracker(attempt=2)
    tracker.measured_baseline([SCORES[1].model_copy(update={"values": {"spearman": 0.5}})])

    tracker.resume(History(latest=SCORES[1:]), CheckpointStatus(step=2))

    registry = tracker.series.registry
    assert registry.get_sample_value("finetune_train_baseline_score", {"metric": "spearman"}) == 0.5
    assert registry.get_sample_value("finetune_train_score", {"metric": "spearman"}) == 0.75
    assert registry.get_sample_value("finetune_eval_score", {"dataset": "similar", "metric": "spearman"}) == 0.75


def test_any_other_path_is_not_found() -> None:
    with serve_telemetry(Tracker(attempt=1), port=0) as port, pytest.raises(HTTPError) as caught:
        get(port, "/")

    caught.value.close()
    assert caught.value.code == HTTPStatus.NOT_FOUND


def test_a_loss_that_is_no_number_is_absent_from_progress_as_json_knows_none() -> None:
    tracker = Tracker(attempt=1)

    tracker.made(step(1, loss=math.nan), in_curve=True)

    assert tracker.read().metrics.train_loss is None
    assert tracker.history.curve[0].loss is None


def test_warnings_are_told_while_training_goes_on_the_newest_of_many() -> None:
    tracker = Tracker(attempt=1)
    for number in range(25):
        tracker.warn(f"{number} " + "w" * 5000)

    warnings = tracker.read().warnings

    assert [warning.split()[0] for warning in warnings] == [str(number) for number in range(5, 25)]
    assert {len(warning) for warning in warnings} == {1200}


class Clock:
    """Stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.seconds)

    def spend(self, tracker: Tracker, stage: Stage, seconds: float) -> None:
        """Be in a stage for so long, then train on."""
        with tracker.stage(stage):
            self.seconds += seconds


def test_the_time_of_all_processes_is_useful_once_a_checkpoint_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, tracker = Clock(monkeypatch), Tracker(attempt=1, job_uid="uid", num_processes=4)
    clock.seconds += 30
    clock.spend(tracker, Stage.BASELINE, 2.5)
    told = [tracker.read().work]

    tracker.begin(step=0, total_steps=8)
    tracker.enter(Stage.TRAINING)
    clock.seconds += 10.1
    clock.spend(tracker, Stage.EVALUATING, 1)
    with tracker.stage(Stage.SAVING):
        saved = History.model_validate_json(tracker.history.content())
        told.append(tracker.read().work)
    clock.seconds += 5
    tracker.saved(CheckpointStatus(step=2), saved)
    told.append(tracker.read().work)
    tracker.enter(Stage.DONE)
    clock.seconds += 3
    told.append(tracker.read().work)

    assert told == [
        Work(unsaved_seconds=10),
        Work(unsaved_seconds=54, resumed_seconds=0),
        Work(useful_seconds=40, evaluating_seconds=14, unsaved_seconds=20, resumed_seconds=0),
        Work(useful_seconds=60, evaluating_seconds=14, resumed_seconds=0),
    ]


def test_parts_of_seconds_do_not_add_up_to_one_that_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, tracker = Clock(monkeypatch), Tracker(attempt=1)
    clock.spend(tracker, Stage.BASELINE, 1.75)
    tracker.begin(step=0, total_steps=8)
    tracker.enter(Stage.TRAINING)
    clock.seconds += 2.5

    tracker.enter(Stage.DONE)

    assert tracker.read().work == Work(useful_seconds=2, evaluating_seconds=1, resumed_seconds=0)


def test_a_gang_goes_on_with_the_time_that_its_checkpoint_has_of_this_job_and_with_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    told = []
    for uid in ("uid", "another"):
        tracker = Tracker(attempt=2, job_uid="uid", num_processes=2)
        tracker.resume(History(made=Made(job_uid=uid, useful=40.4, evaluating=14)), CheckpointStatus(step=2))
        tracker.begin(step=2, total_steps=8)
        tracker.enter(Stage.TRAINING)
        clock.seconds += 3
        told.append((tracker.read().work, tracker.history.made.job_uid))

    assert told == [
        (Work(useful_seconds=40, evaluating_seconds=14, unsaved_seconds=6, resumed_seconds=54), "uid"),
        (Work(unsaved_seconds=6, resumed_seconds=0), "uid"),
    ]


def test_a_resumed_run_goes_on_with_curve_seconds_and_warnings() -> None:
    tracker = Tracker(attempt=2)
    tracker.warn("checkpoint step-000004 was skipped: it is damaged")
    tracker.enter(Stage.TRAINING)
    earlier = History(
        curve=[CurvePoint(step=1, loss=2.0, learning_rate=0.1), CurvePoint(step=1, score=0.1)],
        latest=SCORES,
        seconds={"Loading": 10.0, "Training": 5.0},
        nonfinite_steps=1,
        warnings=["few rows"],
    )

    tracker.resume(earlier, CheckpointStatus(step=2))

    assert tracker.history.seconds["Loading"] == pytest.approx(10.0, abs=1)
    assert tracker.history.seconds["Training"] == 5.0
    assert tracker.history.warnings == ["few rows", "checkpoint step-000004 was skipped: it is damaged"]
    assert tracker.read().nonfinite_steps == 1
    newest = tracker.read().metrics
    assert (newest.train_loss, newest.learning_rate, newest.score) == (2.0, 0.1, 0.123457)
    assert tracker.read().curve == [status.CurvePoint(step=1, loss=2.0, score=0.1)]
    assert tracker.read().checkpoint == CheckpointStatus(step=2)
