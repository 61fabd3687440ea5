"""Limits that a job is given: how long its gangs may train, and how long they may wait."""

from typing import Any

from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.conditions import find_condition
from finetune_operator.core.decision import Situation
from finetune_operator.core.failures import Failure
from finetune_operator.core.times import format_time, parse_time, seconds_since


def seconds_to_limit(status: FinetuneJobStatus, situation: Situation) -> float | None:
    """Return when a job is over that goes on as it does now; None while no limit counts."""
    spec = situation.job.spec
    if status.phase == Phase.TRAINING and spec.active_deadline_seconds is not None:
        trained = status.trained_seconds + seconds_since(parse_time(status.training_time), situation.now)
        return spec.active_deadline_seconds - trained
    if status.phase == Phase.QUEUED and spec.schedule.queue_timeout_seconds is not None:
        return spec.schedule.queue_timeout_seconds - _seconds_waited(status, situation)
    return None


def _seconds_waited(status: FinetuneJobStatus, situation: Situation) -> float:
    """Return how long training pods have waited, be it for several gangs in a row; a suspension is none of it."""
    scheduled = find_condition(status, ConditionType.SCHEDULED)
    if scheduled is None or scheduled.status != "False":
        return 0.0
    since = [parse_time(scheduled.last_transition_time), parse_time(status.start_time)]
    return seconds_since(max(time for time in since if time is not None), situation.now)


def over_limit(status: FinetuneJobStatus, situation: Situation) -> Failure:
    """Return the failure of a job whose limit is over."""
    spec = situation.job.spec
    if status.phase == Phase.TRAINING:
        text = f"the job has trained for activeDeadlineSeconds: {spec.active_deadline_seconds}"
        return _failure(Reason.DEADLINE_EXCEEDED, text)
    scheduled = find_condition(status, ConditionType.SCHEDULED)
    words = f", last because {scheduled.message.removesuffix('.')}" if scheduled is not None else ""
    text = f"training pods waited for schedule.queueTimeoutSeconds: {spec.schedule.queue_timeout_seconds}{words}"
    return _failure(Reason.QUEUE_TIMEOUT, text)


def _failure(reason: Reason, text: str) -> Failure:
    return Failure(reason=reason, message=f"{text}. {GUIDANCE[reason].next_step}")


def time_of_training(status: FinetuneJobStatus, phase: Phase, situation: Situation) -> dict[str, Any]:
    """Return what is to be remembered of the time of training when that phase is entered."""
    began = parse_time(status.training_time)
    if phase == Phase.TRAINING:  # a time to come was written by a clock that has been set back since
        is_known = began is not None and began <= situation.now
        return {} if is_known else {"training_time": format_time(situation.now)}
    trained = int(seconds_since(began, situation.now))
    return {"trained_seconds": status.trained_seconds + max(0, trained), "training_time": None}
