"""Tells a tracker of a gang while it trains: asks rank 0 what checkpoints keep, and hands on what is new.

Nothing waits for this. A tracker that is away is told once it is back, or when the job has ended.
"""

import http.client
import logging
import time
from collections.abc import Callable

from pydantic import ValidationError

from finetune_api import keys
from finetune_api.contract import Role, RunConfig, RunResult, TrackingTask, TrainingGang
from finetune_api.reasons import Reason
from finetune_api.status import TrackingStatus
from finetune_trainer.track.record import Record, make_record_of_training
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.report import KeptCurve
from finetune_trainer.workspace.telemetry import CURVE

LOOK_EVERY_SECONDS = 30.0
#: Ten minutes without an answer: a gang that is gone, or that a NetworkPolicy keeps from being asked.
MOST_UNANSWERED = 20
ANSWER_SECONDS = 10.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024

logger = logging.getLogger(__name__)


def tell_while_training(
    config: RunConfig,
    task: TrackingTask,
    *,
    tell: Callable[[Record], tuple[TrackingStatus, list[str]]],
    port: int = keys.TELEMETRY_PORT,
    wait: Callable[[float], None] = time.sleep,
) -> RunResult:
    """Tell until rank 0 has not answered for a while; the operator ends the pod with the gang, long before that.

    Raises:
        RunFailure: the tracker refuses; one that is away is tried again and again.

    """
    training, told = task.training, None
    assert training is not None, "the caller has looked"
    unanswered = 0
    while unanswered < MOST_UNANSWERED:
        kept = ask(config, training, port=port)
        unanswered = 0 if kept is not None else unanswered + 1
        if kept is not None and kept.is_known and kept != told:
            try:
                status, _ = tell(make_record_of_training(config, task, training, kept))
            except RunFailure as failure:
                if failure.reason is not Reason.TRACKER_UNAVAILABLE:
                    raise
                logger.warning("tracker not told", extra={"detail": failure.message})
            else:
                told = kept
                logger.info("tracker told", extra={"url": status.url, "points": status.points})
        wait(LOOK_EVERY_SECONDS)
    message = f"rank 0 of attempt {training.attempt} is not to be asked any more; the end of the job tells the rest"
    return RunResult(role=Role.TRACK, reason=Reason.TRACKED, message=message, attempt=training.attempt)


def ask(config: RunConfig, training: TrainingGang, *, port: int) -> KeptCurve | None:
    """Return what rank 0 of this very gang answers, past any proxy; None without an answer. It is not trusted."""
    connection = http.client.HTTPConnection(training.address, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", CURVE)
        kept = KeptCurve.model_validate_json(connection.getresponse().read(MAX_ANSWER_BYTES))
    except (OSError, http.client.HTTPException, ValidationError) as error:
        logger.info("rank 0 gives no answer", extra={"error": one_line(error)})
        return None
    finally:
        connection.close()
    return kept if (kept.attempt, kept.job_uid) == (training.attempt, config.job.uid) else None
