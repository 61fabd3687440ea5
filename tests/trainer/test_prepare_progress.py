"""What prepare tells of how far it is, to whoever asks and to its log."""

import json
import shutil
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from finetune_api.contract import Progress, Stage
from finetune_api.status import ProgressStatus
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.prepare.tracker import Tracker, answering
from tests.listening import free_port
from tests.trainer.conftest import MakeRun, png, write_pages


class Clock:
    """A clock that stands still unless moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def counted(tracker: Tracker, clock: Clock, *, seconds: int, rows_per_second: int, start: int = 0) -> int:
    """Let rows be read for so long; return how many are."""
    count, rows = tracker.enter(Stage.READING, dataset="pages", of=1_000_000), start
    for _ in range(seconds):
        clock.now += 1
        rows += rows_per_second
        count(rows)
    return rows


def told(tracker: Tracker) -> ProgressStatus:
    return tracker.read().progress.model_copy(update={"last_update_time": None})


def test_rows_are_told_with_their_share_their_rate_and_the_time_that_is_left() -> None:
    clock = Clock()
    tracker = Tracker(attempt=0, job_uid="uid", clock=clock)

    counted(tracker, clock, seconds=10, rows_per_second=40)

    assert told(tracker) == ProgressStatus(
        stage="Reading",
        dataset="pages",
        rows=400,
        total_rows=1_000_000,
        percent=0,
        rows_per_second=40,
        eta_seconds=24_990,
    )
    assert (tracker.read().job_uid, tracker.read().attempt) == ("uid", 0)
    assert tracker.read().progress.last_update_time is not None


def test_what_is_not_known_is_not_told() -> None:
    clock = Clock()
    tracker = Tracker(clock=clock)
    stages = [told(tracker)]
    for stage in (Stage.FETCHING, Stage.READING):
        tracker.enter(stage, of=100 if stage is Stage.READING else 0)
        clock.now += 5
        stages.append(told(tracker))

    assert stages == [
        ProgressStatus(stage="Checking"),
        ProgressStatus(stage="Fetching"),
        ProgressStatus(stage="Reading", total_rows=100),
    ]


def test_the_rate_is_that_of_the_last_minute_whatever_an_earlier_try_had_done() -> None:
    clock = Clock()
    tracker = Tracker(clock=clock)
    count = tracker.enter(Stage.READING, dataset="pages", of=1_000_000)
    rows = 0
    for rate in (*[5000] * 100, *[40] * 60):
        clock.now += 1
        rows += rate
        count(rows)

    assert told(tracker).rows_per_second == 40
    clock.now += 60
    assert told(tracker).rows_per_second == 20


def test_the_log_tells_the_same_every_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = Clock()

    counted(Tracker(clock=clock), clock, seconds=25, rows_per_second=40)

    names = ("message", "dataset", "rows", "of", "rows_per_second", "seconds_left")
    assert [tuple(vars(record)[name] for name in names) for record in caplog.records] == [
        ("reading", "pages", 400, 1_000_000, 40, 24_990),
        ("reading", "pages", 800, 1_000_000, 40, 24_980),
    ]


def test_it_is_answered_while_prepare_is_at_work_and_not_after() -> None:
    tracker, port = Tracker(attempt=3), free_port()

    with answering(tracker, port):
        tracker.enter(Stage.FETCHING)
        found = ask(port)

    assert (found.attempt, found.progress.stage) == (3, "Fetching")
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port), timeout=60):
        pass


def test_a_port_that_is_taken_stops_nobody_from_preparing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()

        with answering(Tracker(), port := other.getsockname()[1]):
            pass

    (record,) = caplog.records
    assert (record.message, vars(record)["port"]) == ("progress is not told", port)


def test_each_stage_is_told_while_it_lasts(
    make_run: MakeRun, claim: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, claim / "base")
    pages = [{"query": f"a {color} page", "image": png(color)} for color in ("red", "green", "blue")]
    write_pages(claim / "qa", train=pages)
    columns = {"query": "query", "positive": "image"}
    wanted = {"numNegatives": 1}
    dataset = {"name": "qa", "source": "pvc://inputs/qa", "columns": columns, "mineNegatives": wanted}
    run = make_run(model={"source": "pvc://inputs/base"}, data={"train": [dataset]})
    port, enter, seen = free_port(), Tracker.enter, list[tuple[str, str, int]]()

    def entered(tracker: Tracker, stage: Stage, *, dataset: str = "", of: int = 0) -> Callable[[int], None]:
        count = enter(tracker, stage, dataset=dataset, of=of)
        if seen or stage is Stage.FETCHING:  # before, nobody listens yet
            told = ask(port).progress
            seen.append((told.stage, told.dataset, told.total_rows))
        return count

    monkeypatch.setattr(Tracker, "enter", entered)

    prepare(run.config, replace(run.settings, telemetry_port=port))

    assert seen == [
        ("Fetching", "", 0),
        ("Opening", "", 0),
        ("Checking", "", 0),
        ("Reading", "qa", 3),
        ("Mining", "qa", 3),
        ("Mining", "qa", 3),
        ("Mining", "qa", 3),
        ("Checking", "", 0),
        ("Saving", "", 0),
    ]


def ask(port: int) -> Progress:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=60) as answer:
        return Progress.model_validate(json.loads(answer.read()))
