"""The end of a job: success or failure, told once."""

from typing import Any

from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.cleaning import clean_up
from finetune_operator.core.conditions import Finding, is_true, reason_for
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.failures import Failure
from finetune_operator.core.phases import in_phase, update_conditions
from finetune_operator.core.times import format_time


def fail(
    status: FinetuneJobStatus, situation: Situation, failure: Failure, aspect: ConditionType | None = None
) -> Decision:
    """Return the decision that ends the job as failed; `aspect` is the condition that this failure makes False."""
    reason, message = failure.reason, failure.message
    findings = [
        Finding(ConditionType.SUCCEEDED, "False", reason, message),
        Finding(ConditionType.FINISHED, "True", reason, message),
        Finding(ConditionType.RECONCILING, "False", reason),
        Finding(ConditionType.STALLED, "True", reason, message),
    ]
    if is_true(status, ConditionType.TRAINING):
        findings.append(Finding(ConditionType.TRAINING, "False", reason, message))
    findings += [Finding(aspect, "False", reason, message)] if aspect else []
    status = _completed(in_phase(status, situation, Phase.FAILED), situation)
    status = update_conditions(status, situation, *findings)
    return clean_up(status, situation)


def succeed(status: FinetuneJobStatus, situation: Situation, reason: Reason, message: str) -> Decision:
    """Return the decision that ends the job as succeeded."""
    status = _completed(in_phase(status, situation, Phase.SUCCEEDED), situation)
    status = update_conditions(
        status,
        situation,
        Finding(ConditionType.SUCCEEDED, "True", reason, message),
        Finding(ConditionType.FINISHED, "True", reason, message),
        Finding(ConditionType.RECONCILING, "False", reason),
        Finding(ConditionType.STALLED, "False", reason),
    )
    return clean_up(status, situation)


def _completed(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    update: dict[str, Any] = {"completion_time": status.completion_time or format_time(situation.now)}
    status = status.model_copy(update=update)
    if situation.job.spec.tracking is None or not _has_trained(status):
        return status
    message = "a pod tells the tracker; the job has ended whatever comes of that"
    return update_conditions(status, situation, Finding(ConditionType.TRACKED, "Unknown", Reason.TRACKING, message))


def _has_trained(status: FinetuneJobStatus) -> bool:
    """Tell whether there is anything to tell a tracker: a model that is trained, or a gang that ran or was lost."""
    has_run = Phase.TRAINING in status.phase_times or status.last_failure is not None
    return has_run or reason_for(status, ConditionType.TRAINING) == Reason.TRAINED
