"""One run on an MLflow tracking server, by MLflow's own client.

A batch that is sent twice is kept twice there. So a run of ours that is there is read first, and gets what it lacks;
one that has anything else under our names, as after an answer that was lost, is deleted and written anew.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from finetune_api.reasons import Reason
from finetune_api.status import TrackingStatus
from finetune_api.tracking import MLflow
from finetune_trainer.track.failing import missing_key, not_as_written, set_environment, told_as_failures
from finetune_trainer.track.record import TAG_RUN, TAG_UID, Record
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

FIELD = "spec.tracking.mlflow"
USERNAME, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
#: An answer is waited for so long, and asked for again so often; the Job begins anew after that.
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
#: What the server takes at once.
MOST_METRICS, MOST_PARAMETERS = 1000, 100
KEY_LENGTH, PARAMETER_LENGTH, TAG_LENGTH = 250, 6000, 5000
PROXIED = "mlflow-artifacts:"

_Item = TypeVar("_Item")
_Values = Counter[tuple[str, int, float]]
_log = logging.getLogger(__name__)


def tell_mlflow(tracking: MLflow, record: Record, secret: Mapping[str, str]) -> tuple[TrackingStatus, list[str]]:
    """Write the run, read it back, and return what the server has with what is to be said of it.

    A run of a training that goes on is told again and again, each time of what it lacks.

    Raises:
        RunFailure: TokenRefused, TrackerRefused or TrackerUnavailable.

    """
    if tracking.secret_name is not None and not (secret.get(TOKEN) or (secret.get(USERNAME) and secret.get(PASSWORD))):
        raise missing_key(FIELD, tracking.secret_name, f"{USERNAME} and {PASSWORD}, or {TOKEN}")
    set_environment(secret, (USERNAME, PASSWORD, TOKEN), **PATIENCE, **QUIET)
    with told_as_failures(f"{FIELD}.uri", tracking.uri, _status_of):
        return _tell(tracking, _Wanted(record))


class _Wanted:
    """The record in MLflow's words."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.points = [(metric_name(one.name), one.step, one.value, one.milliseconds) for one in record.points]
        self.values: _Values = Counter((name, step, value) for name, step, value, _ in self.points)
        self.summary = {metric_name(name): value for name, value in record.summary.items()}
        self.last_step = max((one.step for one in record.points), default=0)
        self.parameters = {
            metric_name(name): value[:PARAMETER_LENGTH] for name, value in record.parameters.items() if value
        }
        self.tags = {name[:KEY_LENGTH]: value[:TAG_LENGTH] for name, value in record.tags.items()}


def metric_name(name: str) -> str:
    """Return a name that MLflow takes: ndcg@10 is ndcg_at_10."""
    return re.sub(r"[^A-Za-z0-9_./ :-]", "_", name.replace("@", "_at_"))[:KEY_LENGTH]


def _tell(tracking: MLflow, wanted: _Wanted) -> tuple[TrackingStatus, list[str]]:
    from mlflow.tracking import MlflowClient  # noqa: PLC0415 - reads its settings

    client, record = MlflowClient(tracking_uri=tracking.uri), wanted.record
    experiment = _experiment(client, tracking)
    run_id = _own_run(client, experiment, wanted)
    if run_id is None:
        own = {TAG_UID: record.uid, TAG_RUN: record.run}
        name = tracking.run_name or record.name
        run_id = client.create_run(experiment, start_time=record.started, tags=own, run_name=name).info.run_id
    _write(client, run_id, wanted)
    warnings = []
    if record.ended is None:
        client.update_run(run_id, "RUNNING")
    else:
        warnings = _add_files(client, run_id, record)
        client.set_terminated(run_id, "FINISHED" if record.has_succeeded else "FAILED", end_time=record.ended)
    if what := _difference(client, run_id, wanted):
        raise not_as_written(FIELD, tracking.uri, what)
    url = f"{tracking.uri.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"
    return TrackingStatus(tracker="mlflow", run=run_id, url=url, points=len(wanted.points)), warnings


def _experiment(client: "MlflowClient", tracking: MLflow) -> str:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    found = client.get_experiment_by_name(tracking.experiment)
    if found is None:
        try:
            return str(client.create_experiment(tracking.experiment))
        except MlflowException as error:
            found = client.get_experiment_by_name(tracking.experiment)  # another job has just made it
            if found is None:
                raise error from None
    if not found.experiment_id:
        raise not_as_written(FIELD, tracking.uri, "it answers as no MLflow does")
    if found.lifecycle_stage != "active":
        text = f"{FIELD}.experiment: '{tracking.experiment}' is wrong because it was deleted on {tracking.uri}"
        raise RunFailure(Reason.TRACKER_REFUSED, f"{text}; restore it there, or name another")
    return str(found.experiment_id)


def _own_run(client: "MlflowClient", experiment: str, wanted: _Wanted) -> str | None:
    """Return the run that an earlier try has begun, if all it has is right; others of ours are deleted."""
    record = wanted.record
    mine = f"tags.`{TAG_UID}` = '{record.uid}' and tags.`{TAG_RUN}` = '{record.run}'"
    found: str | None = None
    for run in client.search_runs([experiment], mine):
        if found is None and not _excess(client, run, wanted):
            found = run.info.run_id
        else:
            _log.warning("a run that an earlier try has left is deleted", extra={"run": run.info.run_id})
            client.delete_run(run.info.run_id)
    return found


def _excess(client: "MlflowClient", run: "Run", wanted: _Wanted) -> bool:
    """Tell whether a run has other parameters than these, or values that it should not have."""
    has_other = any(wanted.parameters.get(name, value) != value for name, value in run.data.params.items())
    return has_other or bool(_values(client, run, wanted) - wanted.values)


def _values(client: "MlflowClient", run: "Run", wanted: _Wanted) -> _Values:
    names = {name for name, *_ in wanted.points} & set(run.data.metrics)
    histories = (client.get_metric_history(run.info.run_id, name) for name in sorted(names))
    return Counter((one.key, one.step, one.value) for history in histories for one in history)


def _write(client: "MlflowClient", run_id: str, wanted: _Wanted) -> None:
    from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

    run, record = client.get_run(run_id), wanted.record
    lacking = wanted.values - _values(client, run, wanted)
    metrics = [
        Metric(name, value, time, step) for name, step, value, time in wanted.points if lacking[name, step, value] > 0
    ]
    metrics += [
        Metric(name, value, record.ended or record.started, wanted.last_step)
        for name, value in wanted.summary.items()
        if run.data.metrics.get(name) != value
    ]
    parameters = [Param(name, value) for name, value in wanted.parameters.items() if name not in run.data.params]
    tags = [RunTag(name, value) for name, value in wanted.tags.items() if run.data.tags.get(name) != value]
    for some_parameters in _batches(parameters, MOST_PARAMETERS):
        client.log_batch(run_id, params=some_parameters)
    for some_tags in _batches(tags, MOST_PARAMETERS):
        client.log_batch(run_id, tags=some_tags)
    for some_metrics in _batches(metrics, MOST_METRICS):
        client.log_batch(run_id, metrics=some_metrics)


def _add_files(client: "MlflowClient", run_id: str, record: Record) -> list[str]:
    """Add report and pictures where the server takes files; return why it has none of them otherwise."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    place = client.get_run(run_id).info.artifact_uri
    if not place.startswith(PROXIED):
        scheme = place.partition(":")[0]
        return [f"MLflow has no report and no pictures: its clients write files to {scheme} themselves, without a key"]
    try:
        there = {one.path for one in client.list_artifacts(run_id)}
        for file in record.files:
            if file.name not in there:
                client.log_artifact(run_id, str(file))
    except (MlflowException, OSError) as error:
        return [f"MLflow has no report and no pictures: {one_line(error)[:200]}"]
    return []


def _difference(client: "MlflowClient", run_id: str, wanted: _Wanted) -> str:
    """Return in what the run that the server shows is another one; empty if it is as it was told."""
    run = client.get_run(run_id)
    values = _values(client, run, wanted)
    if values != wanted.values:
        return f"{values.total()} values over steps instead of {wanted.values.total()}"
    for what, shown, told in (
        ("value of the whole", run.data.metrics, wanted.summary),
        ("parameter", run.data.params, wanted.parameters),
        ("tag", run.data.tags, wanted.tags),
    ):
        if other := next((name for name, value in told.items() if shown.get(name) != value), None):
            return f"{what} {other}"
    return ""


def _batches(items: Iterable[_Item], most: int) -> Iterator[list[_Item]]:
    rest = iter(items)
    while batch := list(islice(rest, most)):
        yield batch


def _status_of(error: Exception) -> int | None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    if not isinstance(error, MlflowException):
        return None
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
