"""Events for people: one for each transition between two statuses, none for anything that stayed the same."""

from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.conditions import find_condition
from finetune_operator.core.decision import Event

NOTE_LIMIT_BYTES = 1024
WARNINGS = (Phase.FAILED, Phase.RESTARTING)


def find_transitions(old: FinetuneJobStatus, new: FinetuneJobStatus) -> tuple[Event, ...]:
    """Return the Events that tell how `new` came out of `old`."""
    events = []
    if new.phase is not None and (new.phase != old.phase or _is_new_attempt(old, new)):
        events.append(_phase_event(new, new.phase))
    if _reason(new, ConditionType.SCHEDULED) == Reason.UNSCHEDULABLE != _reason(old, ConditionType.SCHEDULED):
        scheduled = find_condition(new, ConditionType.SCHEDULED)
        events.append(_event("Warning", Reason.UNSCHEDULABLE, "Schedule", scheduled.message if scheduled else ""))
    return tuple(events)


def _is_new_attempt(old: FinetuneJobStatus, new: FinetuneJobStatus) -> bool:
    return new.attempt != old.attempt and new.phase == Phase.RESTARTING


def _phase_event(status: FinetuneJobStatus, phase: Phase) -> Event:
    summary = find_condition(status, ConditionType.SUCCEEDED)
    kind = "Warning" if phase in WARNINGS else "Normal"
    return _event(kind, summary.reason if summary else phase.value, phase.value, summary.message if summary else "")


def _reason(status: FinetuneJobStatus, kind: ConditionType) -> str:
    condition = find_condition(status, kind)
    return condition.reason if condition else ""


def _event(kind: str, reason: str, action: str, note: str) -> Event:
    return Event(kind=kind, reason=str(reason), action=action, note=_cut(note or str(reason)))


def _cut(text: str) -> str:
    """Return the text within the API's limit, which counts bytes."""
    return text.encode()[:NOTE_LIMIT_BYTES].decode(errors="ignore")
