"""Tells the job's tracker of it: reads the volume, writes what the tracker lacks, reads it back. Safe to run again.

While a gang trains, a pod without the volume asks its rank 0 instead. What goes wrong here ends no job.
"""

from collections.abc import Mapping
from functools import partial

from pydantic import ValidationError

from finetune_api.contract import Role, RunConfig, RunResult, TrackingTask
from finetune_api.reasons import Reason
from finetune_api.status import TrackingStatus
from finetune_trainer.buckets.secrets import read_settings
from finetune_trainer.track.live import tell_while_training
from finetune_trainer.track.record import Record, make_record
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.own_inputs import read_own_inputs
from finetune_trainer.workspace.settings import Settings


def track(config: RunConfig, settings: Settings) -> RunResult:
    """Return what the tracker has of the job, once it has all of it, or once there is no gang to ask any more.

    Raises:
        RunFailure: the tracker is away, refuses or answers nonsense; a key is missing; the volume is another run's.

    """
    task, secret = _read_task(settings.tracking_task), read_settings(settings.tracking_secret)
    if task.training is not None:
        return tell_while_training(config, task, tell=partial(_tell, task, secret=secret))
    try:
        inputs = read_own_inputs(settings.workspace, config)
    except FileNotFoundError as error:
        raise RunFailure(Reason.TRAINER_ERROR, "inputs/manifest.json is missing; use the volume of the job") from error
    record = make_record(config, task, settings.workspace, inputs)
    told, warnings = _tell(task, record, secret=secret)
    message = f"{told.points} values over steps are at {told.url}"
    return RunResult(role=Role.TRACK, reason=Reason.TRACKED, message=message, tracking=told, warnings=warnings)


def _tell(task: TrackingTask, record: Record, *, secret: Mapping[str, str]) -> tuple[TrackingStatus, list[str]]:
    if task.tracking.mlflow is not None:
        from finetune_trainer.track.mlflow_run import tell_mlflow  # noqa: PLC0415 - each loads a library of its own

        return tell_mlflow(task.tracking.mlflow, record, secret)
    assert task.tracking.wandb is not None, "the API server refuses a tracking without a tracker"
    from finetune_trainer.track.wandb_run import tell_wandb  # noqa: PLC0415

    return tell_wandb(task.tracking.wandb, record, secret)


def _read_task(text: str) -> TrackingTask:
    try:
        return TrackingTask.model_validate_json(text)
    except ValidationError as error:
        message = f"what the operator told track cannot be read: {one_line(error)}; both must be of one release"
        raise RunFailure(Reason.INTERNAL_ERROR, message) from error
