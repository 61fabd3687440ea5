"""One run of Weights & Biases, by its own library. Its id is that of the job and of what was trained."""

import hashlib
import re
import tempfile
import time
from collections.abc import Mapping
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, Any

from finetune_api.status import TrackingStatus
from finetune_api.tracking import WeightsAndBiases
from finetune_trainer.track.failing import missing_key, not_as_written, set_environment, told_as_failures
from finetune_trainer.track.record import Point, Record

if TYPE_CHECKING:
    from wandb import Run

FIELD = "spec.tracking.wandb"
API_KEY = "WANDB_API_KEY"
HOSTED = "https://api.wandb.ai"
#: Nothing of this pod is of interest, and no key may get into what is sent.
QUIET = {"WANDB_ERROR_REPORTING": "false", "WANDB_CONSOLE": "off", "WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true"}
ANSWER_SECONDS, SEND_SECONDS = 60, 180
#: What was sent is shown a little later.
SHOWN_SECONDS, LOOK_EVERY_SECONDS = 90, 3
RETRIES = 3
#: How the library words that a server was not reached, in an exception about the key, and what one has answered.
_NOT_ASKED = "Failed to execute API request"
_STATUS = re.compile(r"returned error ([45]\d\d)\b")


def tell_wandb(
    tracking: WeightsAndBiases, record: Record, secret: Mapping[str, str]
) -> tuple[TrackingStatus, list[str]]:
    """Write the run, read it back, and return what the server has with what is to be said of it.

    Raises:
        RunFailure: TokenRefused, TrackerRefused or TrackerUnavailable.

    """
    if not secret.get(API_KEY):
        raise missing_key(FIELD, tracking.secret_name, API_KEY)
    address = tracking.base_url or HOSTED
    set_environment(secret, (API_KEY,), **QUIET)
    with told_as_failures(FIELD, address, _status_of), tempfile.TemporaryDirectory() as folder:
        run = begin(tracking, record, folder=folder)
        path, url = f"{run.entity}/{run.project}/{run.id}", run.url or address
        write(run, record)
        points = _read_back(tracking, path, record)
    return TrackingStatus(tracker="wandb", run=path, url=url, points=points), []


def run_id(record: Record) -> str:
    """Return the id of the run: a repeated pod goes on with it. Ids of deleted runs are refused by the server."""
    return hashlib.sha256(f"{record.uid} {record.run}".encode()).hexdigest()[:16]


def begin(tracking: WeightsAndBiases, record: Record, *, folder: str, mode: Any = None) -> "Run":  # noqa: ANN401
    """Return the run, new or as an earlier try has left it. `mode` is that of `wandb.init`."""
    import wandb  # noqa: PLC0415 - reads its settings

    settings = wandb.Settings(
        base_url=tracking.base_url or HOSTED,
        root_dir=folder,
        init_timeout=ANSWER_SECONDS,
        finish_timeout=SEND_SECONDS,
        finish_timeout_raises=True,
        disable_code=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_graphql_retry_max=RETRIES,
        x_file_stream_retry_max=RETRIES,
        x_file_transfer_retry_max=RETRIES,
    )
    return wandb.init(
        project=tracking.project,
        entity=tracking.entity,
        id=run_id(record),
        name=record.name,
        resume="allow",
        mode=mode,
        job_type="finetune",
        config={"recipe": record.parameters, "job": record.tags},
        allow_val_change=True,
        settings=settings,
    )


def write(run: "Run", record: Record) -> None:
    """Send what the run lacks. Steps only rise there, so that it has all of those before its next one."""
    import wandb  # noqa: PLC0415

    for step, points in groupby(record.points, key=lambda point: point.step):
        if step >= run.step:
            run.log(_row(list(points)), step=step)
    run.summary.update(record.summary)
    if record.files:
        artifact = wandb.Artifact(f"report-{run.id}", type="report")
        for file in record.files:
            artifact.add_file(str(file), name=file.name)
        run.log_artifact(artifact)
    run.finish(exit_code=0 if record.has_succeeded else 1)


def _row(points: list[Point]) -> dict[str, float]:
    values = {point.name: point.value for point in points}
    return {**values, "_timestamp": max(point.milliseconds for point in points) / 1000}


def _read_back(tracking: WeightsAndBiases, path: str, record: Record) -> int:
    """Return how many values over steps the server shows, once that is all of them."""
    import wandb  # noqa: PLC0415

    wanted = {(point.step, point.name, point.value) for point in record.points}
    api = wandb.Api(overrides={"base_url": tracking.base_url or HOSTED}, timeout=ANSWER_SECONDS)
    end = time.monotonic() + SHOWN_SECONDS
    while True:
        rows = list(api.run(path).scan_history())
        shown = {(row["_step"], name, value) for row in rows for name, value in row.items() if value is not None}
        if wanted <= shown:
            return len(wanted)
        if time.monotonic() > end:
            what = f"{len(wanted & shown)} values over steps instead of {len(wanted)}"
            raise not_as_written(FIELD, tracking.base_url or HOSTED, what)
        time.sleep(LOOK_EVERY_SECONDS)


def _status_of(error: Exception) -> int | None:
    """Return the HTTP status of the answer behind an exception: its text alone has it. None if there was none."""
    import wandb  # noqa: PLC0415

    if found := _STATUS.search(str(error)):
        return int(found[1])
    is_refused_key = isinstance(error, wandb.errors.AuthenticationError) and _NOT_ASKED not in str(error)
    return HTTPStatus.UNAUTHORIZED if is_refused_key else None
