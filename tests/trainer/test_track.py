"""The role track against a real MLflow server, and against what is none; Weights & Biases as far as it goes offline."""

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import ExitCode, Role, RunResult, TrackingTask
from finetune_api.reasons import Reason
from finetune_api.status import PublishedStatus, UsageStatus
from finetune_api.tracking import MLflow, WeightsAndBiases
from finetune_trainer.track.failing import set_environment
from finetune_trainer.track.mlflow_run import metric_name, tell_mlflow
from finetune_trainer.track.record import Record, make_record
from finetune_trainer.track.track import track
from finetune_trainer.track.wandb_run import begin, run_id, write
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import CurvePoint, Report
from tests.tracker import Account, RunningMlflow, running_mlflow
from tests.trainer.conftest import MakeRun, Run, write_secret
from tests.trainer.publishing import finished_run

ACCOUNT = Account()
EXPERIMENT = "retrieval"
#: 2026-11-25T10:00:00Z.
WHEN = 1_795_600_800_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMlflow]:
    """One that is open to all: asking for a password costs it a second for each request."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and settings that the role sets for its process go with the test."""
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def run(make_run: MakeRun, tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """A trained and published run of a job of its own, with times and all scores in its curve."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "modules.json").write_text("[]")
    run = finished_run(make_run, model)
    job = run.config.job.model_copy(update={"uid": request.node.name})
    run = replace(run, config=run.config.model_copy(update={"job": job}))
    InputsManifest.read(run.workspace.manifest).model_copy(
        update={"sources": {"spec.model": "b" * 40, "spec.data.train[0]": "d" * 40}}
    ).write(run.workspace.manifest)
    report = Report.read(run.workspace.report)
    curve = [point.model_copy(update={"time": "2026-11-25T10:00:00Z"}) for point in report.curve[:-1]]
    last = CurvePoint(step=20, score=0.8, scores={"held-out/ndcg@10": 0.8, "held-out/mrr@10": 0.7})
    report.model_copy(update={"curve": [*curve, last]}).write(run.workspace.report)
    (run.workspace.receipt.parent / "runs" / run.id).mkdir(parents=True)
    (run.workspace.receipt.parent / "runs" / run.id / "loss.png").write_bytes(b"a picture")
    return run


def task(tracking: dict[str, Any], **fields: Any) -> TrackingTask:  # noqa: ANN401 - fields pass through
    told: dict[str, Any] = {
        "tracking": tracking,
        "phase": "Succeeded",
        "reason": "Published",
        "attempts": 1,
        "startTime": "2026-11-25T09:00:00Z",
        "completionTime": "2026-11-25T11:00:00Z",
        "usage": UsageStatus(of="Accelerators", held_seconds=60, useful_seconds=40, time="2026-11-25T11:00:00Z"),
        "published": PublishedStatus(repository="demo/finetuned", commit="c" * 40, url="http://hub/c"),
        **fields,
    }
    return TrackingTask.model_validate(told)


def told(run: Run, tracking: dict[str, Any], secret: dict[str, str], **fields: Any) -> RunResult:  # noqa: ANN401
    """Run the role."""
    folder = run.settings.run_config.parent / "tracking"
    write_secret(folder, secret)
    told_task = task(tracking, **fields).model_dump_json(by_alias=True, exclude_none=True)
    return track(run.config, replace(run.settings, tracking_task=told_task, tracking_secret=folder))


def mlflow(uri: str, **fields: str) -> dict[str, Any]:
    return {"mlflow": {"uri": uri, "experiment": EXPERIMENT, "secretName": "mlflow", **fields}}


def record_of(run: Run, **fields: Any) -> Record:  # noqa: ANN401 - fields pass through
    inputs = InputsManifest.read(run.workspace.manifest)
    return make_record(run.config, task(mlflow("http://x"), **fields), run.workspace, inputs)


def client_of(server: RunningMlflow) -> Any:  # noqa: ANN401 - MLflow's own
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=server.uri)


def runs_of(server: RunningMlflow, run: Run) -> list[Any]:
    client = client_of(server)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    mine = f"tags.`finetune.dev/job-uid` = '{run.config.job.uid}'"
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id], mine))


def points_of(server: RunningMlflow, name: str, id_: str) -> list[tuple[int, float, int]]:
    """Return step, value and time of what the server has of a metric."""
    history = client_of(server).get_metric_history(id_, name)
    return sorted((one.step, one.value, one.timestamp) for one in history)


def test_the_curve_at_the_server_is_that_of_the_report(run: Run, server: RunningMlflow) -> None:
    result = told(run, mlflow(server.uri), ACCOUNT.settings())

    (found,) = runs_of(server, run)
    id_ = found.info.run_id
    end = WHEN + 3_600_000
    assert points_of(server, "train/loss", id_) == [(step, 2.0 / step, WHEN) for step in range(1, 21)]
    assert points_of(server, "train/learning_rate", id_) == [(step, 1e-5, WHEN) for step in range(1, 21)]
    assert points_of(server, "eval/score", id_) == [(0, 0.1, end), (10, 0.5, WHEN), (20, 0.8, end)]
    assert points_of(server, "eval/held-out/ndcg_at_10", id_) == [(0, 0.1, end), (20, 0.8, end)]
    assert (result.role, result.reason, result.warnings) == (Role.TRACK, Reason.TRACKED, [])
    assert result.tracking is not None
    assert result.tracking.model_dump() == {
        "tracker": "mlflow",
        "run": id_,
        "url": f"{server.uri}/#/experiments/{found.info.experiment_id}/runs/{id_}",
        "points": 48,
    }


def test_the_run_has_recipe_outcome_and_files(run: Run, server: RunningMlflow) -> None:
    told(run, mlflow(server.uri, runName="pages of today"), ACCOUNT.settings())

    (found,) = runs_of(server, run)
    assert (found.info.run_name, found.info.status) == ("pages of today", "FINISHED")
    assert (found.info.start_time, found.info.end_time) == (WHEN - 3_600_000, WHEN + 3_600_000)
    expected = {
        "model.source": "hf://demo/tiny",
        "training.loss.matryoshka_dimensions.0": "64",
        "training.learning_rate": "2e-05",
        "data.train.0.source": "hf://demo/pages",
        "evaluation.metric": "ndcg@10",
    }
    assert {name: found.data.params.get(name) for name in expected} == expected
    tags = {name: value for name, value in found.data.tags.items() if name.startswith("finetune.dev/")}
    assert tags == {
        "finetune.dev/job": "pages",
        "finetune.dev/namespace": "search",
        "finetune.dev/job-uid": run.config.job.uid,
        "finetune.dev/run": run.id,
        "finetune.dev/phase": "Succeeded",
        "finetune.dev/reason": "Published",
        "finetune.dev/attempts": "1",
        "finetune.dev/metric": "ndcg@10",
        "finetune.dev/model": "hf://demo/tiny",
        "finetune.dev/published.repository": "demo/finetuned",
        "finetune.dev/published.commit": "c" * 40,
        "finetune.dev/published.url": "http://hub/c",
        "finetune.dev/usage.of": "Accelerators",
        "finetune.dev/revision.model": "b" * 40,
        "finetune.dev/revision.data.train.0": "d" * 40,
        "finetune.dev/version.torch": "2.15.0",
        "finetune.dev/version.sentence-transformers": "6.2.0",
    }
    whole = {name: found.data.metrics.get(name) for name in ("baseline_score", "final_score", "usage/useful_seconds")}
    assert whole == {"baseline_score": 0.1, "final_score": 0.8, "usage/useful_seconds": 40.0}
    files = {path.name: path.read_bytes() for path in server.files.rglob("*.*") if found.info.run_id in str(path)}
    assert files["report.json"] == run.workspace.report.read_bytes()
    assert files["loss.png"] == b"a picture"


def test_a_second_pod_finds_the_run_and_writes_nothing_twice(run: Run, server: RunningMlflow) -> None:
    first = told(run, mlflow(server.uri), ACCOUNT.settings())
    again = told(run, mlflow(server.uri), ACCOUNT.settings(), usage=None)

    (found,) = runs_of(server, run)
    assert (first.tracking, len(points_of(server, "train/loss", found.info.run_id))) == (again.tracking, 20)


def test_a_pod_that_was_killed_half_way_is_gone_on_from(run: Run, server: RunningMlflow) -> None:
    record = record_of(run)
    half = replace(record, points=record.points[:20], summary={}, tags={}, files=[])
    begun, _ = tell_mlflow(MLflow(uri=server.uri, experiment=EXPERIMENT), half, ACCOUNT.settings())

    whole = told(run, mlflow(server.uri), ACCOUNT.settings())

    assert whole.tracking is not None
    assert whole.tracking.run == begun.run
    assert len(points_of(server, "train/loss", begun.run)) == 20


def test_a_run_with_values_that_were_kept_twice_is_written_anew(run: Run, server: RunningMlflow) -> None:
    begun = told(run, mlflow(server.uri), ACCOUNT.settings()).tracking
    assert begun is not None
    client_of(server).log_metric(begun.run, "train/loss", 2.0, step=1)

    anew = told(run, mlflow(server.uri), ACCOUNT.settings()).tracking

    (found,) = runs_of(server, run)
    assert anew is not None
    assert anew.run == found.info.run_id != begun.run
    assert len(points_of(server, "train/loss", anew.run)) == 20


def test_a_training_that_failed_is_told_as_far_as_a_checkpoint_has_it(run: Run, server: RunningMlflow) -> None:
    from finetune_trainer.workspace.verify import MANIFEST, CheckpointManifest

    curve = [CurvePoint(step=step, loss=1.0, time="2026-11-25T10:00:00Z") for step in (1, 2, 3)]
    run.workspace.report.unlink()
    for step in (2, 3):
        folder = run.workspace.checkpoints / f"step-{step:06}"
        folder.mkdir(parents=True)
        manifest = CheckpointManifest(step=step, world_size=1, run=run.id, time="2026-11-25T10:00:00Z", files=[])
        (folder / MANIFEST).write_text(manifest.model_dump_json(by_alias=True))
        kept = [point.model_dump(mode="json", by_alias=True) for point in curve[:step]]
        (folder / "history.json").write_text(json.dumps({"curve": kept, "made": {}}))

    result = told(run, mlflow(server.uri), ACCOUNT.settings(), phase="Failed", reason="NonFiniteLoss")

    (found,) = runs_of(server, run)
    assert found.info.status == "FAILED"
    assert found.data.tags["finetune.dev/reason"] == "NonFiniteLoss"
    assert points_of(server, "train/loss", found.info.run_id) == [(step, 1.0, WHEN) for step in (1, 2, 3)]
    assert result.tracking is not None
    assert result.tracking.points == 3


def failure(act: Callable[[], object]) -> tuple[Reason, str]:
    with pytest.raises(RunFailure) as raised:
        act()
    return raised.value.reason, raised.value.message


def test_only_the_right_password_is_taken_and_none_is_told(run: Run, tmp_path: Path) -> None:
    wrong = ACCOUNT.settings(MLFLOW_TRACKING_PASSWORD="another-password")
    folder = tmp_path / "server"
    folder.mkdir()
    with running_mlflow(folder, account=ACCOUNT) as server:
        reason, message = failure(lambda: told(run, mlflow(server.uri), wrong))
        right = told(run, mlflow(server.uri), ACCOUNT.settings())

    assert reason == Reason.TOKEN_REFUSED
    assert message.startswith(f"spec.tracking.mlflow.uri: {server.uri} does not take what the Secret has")
    assert "another-password" not in message
    assert (right.reason, right.tracking and right.tracking.points) == (Reason.TRACKED, 48)


def test_a_deleted_experiment_is_named(run: Run, server: RunningMlflow) -> None:
    client = client_of(server)
    client.delete_experiment(client.create_experiment("old"))

    answer = failure(lambda: told(run, mlflow(server.uri, experiment="old"), ACCOUNT.settings()))

    text = f"spec.tracking.mlflow.experiment: 'old' is wrong because it was deleted on {server.uri}"
    assert answer == (Reason.TRACKER_REFUSED, f"{text}; restore it there, or name another")


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_secret_that_is_not_there_is_named_with_the_key(run: Run, tracker: str) -> None:
    wandb = {"wandb": {"project": "p", "secretName": "keys"}}
    tracking = mlflow("http://127.0.0.1:9", secretName="keys") if tracker == "mlflow" else wandb

    reason, message = failure(lambda: told(run, tracking, {}))

    assert reason == Reason.TOKEN_REFUSED
    assert message.startswith(f"spec.tracking.{tracker}.secretName: 'keys' is wrong because there is no such Secret")


def test_a_server_that_is_away_is_told_as_such(run: Run) -> None:
    reason, message = failure(lambda: told(run, mlflow("http://127.0.0.1:9"), ACCOUNT.settings()))

    assert reason == Reason.TRACKER_UNAVAILABLE
    assert message.startswith("spec.tracking.mlflow.uri: http://127.0.0.1:9 does not answer as it should: ")
    assert "onnection refused" in message


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of a server that gives every request the one answer that is asked for."""
    status, body = request.param

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815 - as the library names them

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answering", "expected"),
    [
        ((200, b"<html>a page</html>"), Reason.TRACKER_UNAVAILABLE),
        ((200, b"{}"), Reason.TRACKER_UNAVAILABLE),
        ((503, b"busy"), Reason.TRACKER_UNAVAILABLE),
        ((404, b"no such page"), Reason.TRACKER_REFUSED),
        ((403, b"no"), Reason.TRACKER_REFUSED),
        ((401, b"who?"), Reason.TOKEN_REFUSED),
    ],
    indirect=["answering"],
    ids=str,
)
def test_what_answers_as_no_mlflow_does_ends_with_a_reason(run: Run, answering: str, expected: Reason) -> None:
    reason, _ = failure(lambda: told(run, mlflow(answering), ACCOUNT.settings()))

    assert reason == expected


def test_a_record_of_another_run_is_not_told(run: Run) -> None:
    InputsManifest.read(run.workspace.manifest).model_copy(update={"spec_hash": "another"}).write(
        run.workspace.manifest
    )

    reason, _ = failure(lambda: told(run, mlflow("http://127.0.0.1:9"), ACCOUNT.settings()))

    assert reason == Reason.WORKSPACE_IN_USE


def test_names_are_those_that_mlflow_takes() -> None:
    assert metric_name("eval/set-1/ndcg@10") == "eval/set-1/ndcg_at_10"
    assert metric_name("training.learning_rates.^query.*$") == "training.learning_rates._query.__"


def test_authorities_of_the_image_count_for_clients_with_a_variable_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.setenv(name, "restored after the test")
        monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/company/ca.crt")

    set_environment({"MLFLOW_TRACKING_TOKEN": "key", "OTHER": "key"}, ("MLFLOW_TRACKING_TOKEN",))

    assert (os.environ["REQUESTS_CA_BUNDLE"], os.environ["MLFLOW_TRACKING_TOKEN"]) == ("/etc/ssl/company/ca.crt", "key")
    assert "OTHER" not in os.environ


KEY = "0123456789" * 4
#: LevelDB's log: blocks with records of a checksum, a length and a kind, behind a header of the file.
#: https://github.com/google/leveldb/blob/main/doc/log_format.md
FILE_HEADER, BLOCK, HEADER, WHOLE_OR_LAST = 7, 32_768, 7, (1, 4)


def entries(log: bytes) -> Iterator[Any]:
    """Yield what wandb has written into its transaction log, in the form that it sends to a server."""
    from wandb.proto import wandb_internal_pb2

    form: Any = vars(wandb_internal_pb2)["Record"]  # generated, as its type
    place, parts = FILE_HEADER, b""
    while place + HEADER <= len(log):
        if (room := BLOCK - place % BLOCK) < HEADER:
            place += room
            continue
        size, kind = struct.unpack_from("<HB", log, place + 4)
        place += HEADER + size
        parts += log[place - size : place]
        if kind in WHOLE_OR_LAST:
            yield form.FromString(parts)
            parts = b""


def test_what_is_sent_to_wandb_is_the_report(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    record, tracking = record_of(run), WeightsAndBiases(project="search", entity="team", secret_name="wandb")

    write(begin(tracking, record, folder=str(tmp_path), mode="offline"), record)

    (log,) = (path for path in tmp_path.rglob("*.wandb") if path.parent.name.startswith("offline"))
    sent = list(entries(log.read_bytes()))
    rows = [
        {item.nested_key[0]: json.loads(item.value_json) for item in entry.history.item}
        for entry in sent
        if entry.history.item
    ]
    times = {row["_step"]: row["_timestamp"] for row in rows}
    shown = {(row["_step"], name, value) for row in rows for name, value in row.items() if not name.startswith("_")}
    assert shown == {(point.step, point.name, point.value) for point in record.points}
    assert [row["_step"] for row in rows] == list(range(21))
    assert (times[1], times[20]) == (WHEN / 1000, WHEN / 1000 + 3600)
    (begun,) = (entry.run for entry in sent if entry.run.run_id)
    config = {update.key: json.loads(update.value_json) for update in begun.config.update}
    assert (begun.run_id, begun.entity, begun.project) == (run_id(record), "team", "search")
    assert (config["recipe"], config["job"]) == (record.parameters, record.tags)
    summary = {
        update.key: json.loads(update.value_json) for entry in sent for update in entry.summary.update if update.key
    }
    assert record.summary.items() <= summary.items()
    files = [one.path for entry in sent for one in entry.artifact.manifest.contents]
    assert files == ["loss.png", "report.json"]


def test_the_id_of_a_run_of_wandb_is_that_of_the_job_and_of_what_is_trained(run: Run) -> None:
    record = record_of(run)

    ids = [run_id(record), run_id(replace(record, points=[])), run_id(replace(record, run="another"))]

    assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)


def as_a_container(run: Run, address: str) -> tuple[int, RunResult, str]:
    """Return how the role ends as a process of its own, as wandb keeps the first server that it is told of."""
    folder = run.settings.run_config.parent / "tracking"
    write_secret(folder, {"WANDB_API_KEY": KEY})
    told_task = task({"wandb": {"project": "search", "baseUrl": address, "secretName": "wandb"}})
    environment = os.environ | run.environment()
    environment |= {
        "FINETUNE_TRACKING_TASK": told_task.model_dump_json(by_alias=True, exclude_none=True),
        "FINETUNE_TRACKING_SECRET_FOLDER": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-m", "finetune_trainer", "track"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    result = RunResult.model_validate_json(run.settings.termination_message.read_bytes())
    return done.returncode, result, done.stdout + done.stderr + result.model_dump_json()


def test_a_server_of_wandb_that_is_away_is_told_as_such(run: Run) -> None:
    code, result, everything = as_a_container(run, "http://127.0.0.1:9")

    assert (code, result.reason) == (ExitCode.HUB_UNAVAILABLE, Reason.TRACKER_UNAVAILABLE)
    assert result.message.startswith("spec.tracking.wandb: http://127.0.0.1:9 does not answer as it should: ")
    assert "connection refused" in result.message
    assert KEY not in everything


@pytest.mark.parametrize(
    ("answering", "expected"),
    [
        ((200, b"<html>a page</html>"), Reason.TRACKER_UNAVAILABLE),
        ((200, b"{}"), Reason.TOKEN_REFUSED),
        ((503, b"busy"), Reason.TRACKER_UNAVAILABLE),
        ((403, b"{}"), Reason.TRACKER_REFUSED),
        ((401, b"{}"), Reason.TOKEN_REFUSED),
    ],
    indirect=["answering"],
    ids=str,
)
def test_what_answers_as_no_wandb_does_ends_with_a_reason(run: Run, answering: str, expected: Reason) -> None:
    _, result, everything = as_a_container(run, answering)

    assert result.reason == expected, result.message
    assert KEY not in everything
