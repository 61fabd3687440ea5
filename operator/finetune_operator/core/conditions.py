"""Conditions as the Kubernetes API conventions want them: a map by type whose times change with the status only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from finetune_api.reasons import Reason
from finetune_api.status import Condition, ConditionType, FinetuneJobStatus
from finetune_operator.core.times import format_time

MESSAGE_LIMIT = 1500
ORDER = {kind.value: position for position, kind in enumerate(ConditionType)}
ConditionValue = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Finding:
    """A condition without its times."""

    type: ConditionType
    status: ConditionValue
    reason: Reason
    message: str = ""


def find_condition(status: FinetuneJobStatus, kind: ConditionType) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in status.conditions if condition.type == kind), None)


def is_true(status: FinetuneJobStatus, kind: ConditionType) -> bool:
    """Tell whether the condition is there and True."""
    condition = find_condition(status, kind)
    return condition is not None and condition.status == "True"


def reason_for(status: FinetuneJobStatus, kind: ConditionType) -> str:
    """Return the reason of a condition; empty where it is not there."""
    condition = find_condition(status, kind)
    return condition.reason if condition is not None else ""


def reason_of(status: FinetuneJobStatus) -> str:
    """Return the reason of the summary condition; empty before there is one."""
    summary = find_condition(status, ConditionType.SUCCEEDED)
    return summary.reason if summary else ""


def set_conditions(
    conditions: Iterable[Condition], *findings: Finding, now: datetime, generation: int
) -> list[Condition]:
    """Return the conditions with these set; a condition that keeps its status keeps its transition time."""
    known = {condition.type: condition for condition in conditions}
    for finding in findings:
        known[finding.type.value] = _renewed(known.get(finding.type), finding, now=now, generation=generation)
    return sorted(known.values(), key=lambda condition: ORDER.get(condition.type, len(ORDER)))


def _renewed(old: Condition | None, finding: Finding, *, now: datetime, generation: int) -> Condition:
    is_same = old is not None and old.status == finding.status
    return Condition(
        type=finding.type.value,
        status=finding.status,
        observed_generation=generation,
        last_transition_time=old.last_transition_time if old is not None and is_same else format_time(now),
        reason=finding.reason.value,
        message=finding.message[:MESSAGE_LIMIT],
    )
