"""Events for people: one for each transition between two statuses, none for anything that stayed the same."""

from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.conditions import find_condition
from finetune_operator.core.decision import Event

NOTE_LIMIT_BYTES = 1024
WARNINGS = (Phase.FAILED, Phase.RESTARTING)
#: Reasons why pods are not there that somebody may want to do something about.
HELD_BACK = (
    Reason.UNSCHEDULABLE,
    Reason.BLOCKED,
    Reason.WORKSPACE_IN_USE,
    Reason.POD_NOT_STARTED,
    Reason.IMAGE_UNAVAILABLE,
    Reason.SECRET_NOT_FOUND,
    Reason.INVALID_SPEC,
)


def find_transitions(old: FinetuneJobStatus, new: FinetuneJobStatus) -> tuple[Event, ...]:
    """Return the Events that tell how `new` came out of `old`."""
    if new.phase is not None and (new.phase != old.phase or _is_new_attempt(old, new)):
        return (_event_of(new, new.phase),)
    if new.phase is not None and _reason(new) in HELD_BACK and _reason(new) != _reason(old):
        return (_event_of(new, new.phase),)
    return ()


def _is_new_attempt(old: FinetuneJobStatus, new: FinetuneJobStatus) -> bool:
    return new.attempt != old.attempt and new.phase == Phase.RESTARTING


def _event_of(status: FinetuneJobStatus, phase: Phase) -> Event:
    summary = find_condition(status, ConditionType.SUCCEEDED)
    reason, note = (summary.reason, summary.message) if summary else (phase.value, "")
    kind = "Warning" if phase in WARNINGS or reason in HELD_BACK else "Normal"
    return Event(kind=kind, reason=str(reason), action=phase.value, note=_cut(note or str(reason)))


def _reason(status: FinetuneJobStatus) -> str:
    summary = find_condition(status, ConditionType.SUCCEEDED)
    return summary.reason if summary else ""


def _cut(text: str) -> str:
    """Return the text within the API's limit, which counts bytes."""
    return text.encode()[:NOTE_LIMIT_BYTES].decode(errors="ignore")
