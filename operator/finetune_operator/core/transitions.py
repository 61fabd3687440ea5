"""Events for people: how a job ends, and whatever gets in its way.

That it goes from one step to the next as it should is in its status, with the times, and costs no request of its own.
"""

from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.conditions import find_condition, reason_of
from finetune_operator.core.decision import Event

NOTE_LIMIT_BYTES = 1024
WARNINGS = (Phase.FAILED, Phase.RESTARTING)
ON_ITS_WAY = (Phase.PENDING, Phase.PREPARING, Phase.QUEUED, Phase.TRAINING, Phase.PUBLISHING)
#: Reasons why pods are not there that somebody may want to do something about.
HELD_BACK = (
    Reason.UNSCHEDULABLE,
    Reason.BLOCKED,
    Reason.PODS_REFUSED,
    Reason.GANG_RETURNED,
    Reason.POD_STUCK,
    Reason.WORKSPACE_IN_USE,
    Reason.POD_NOT_STARTED,
    Reason.IMAGE_UNAVAILABLE,
    Reason.SECRET_NOT_FOUND,
    Reason.INVALID_SPEC,
)


def find_transitions(old: FinetuneJobStatus, new: FinetuneJobStatus) -> tuple[Event, ...]:
    """Return the Events that tell how `new` came out of `old`."""
    if new.phase is None:
        return ()
    is_entered = (new.phase != old.phase and new.phase not in ON_ITS_WAY) or _is_new_attempt(old, new)
    is_held_back = reason_of(new) in HELD_BACK and (reason_of(new) != reason_of(old) or new.phase != old.phase)
    told = (_event_of(new, new.phase),) if is_entered or is_held_back else ()
    return (*told, *_tracked(old, new))


def _tracked(old: FinetuneJobStatus, new: FinetuneJobStatus) -> tuple[Event, ...]:
    """Return the Event of a tracker that was told, or will not be."""
    before, after = (find_condition(status, ConditionType.TRACKED) for status in (old, new))
    if after is None or after.status == "Unknown" or (before is not None and before.status == after.status):
        return ()
    kind = "Normal" if after.status == "True" else "Warning"
    return (Event(kind=kind, reason=after.reason, action="Tracking", note=_cut(after.message)),)


def _is_new_attempt(old: FinetuneJobStatus, new: FinetuneJobStatus) -> bool:
    return new.attempt != old.attempt and new.phase == Phase.RESTARTING


def _event_of(status: FinetuneJobStatus, phase: Phase) -> Event:
    summary = find_condition(status, ConditionType.SUCCEEDED)
    reason, note = (summary.reason, summary.message) if summary else (phase.value, "")
    kind = "Warning" if phase in WARNINGS or reason in HELD_BACK else "Normal"
    return Event(kind=kind, reason=str(reason), action=phase.value, note=_cut(note or str(reason)))


def _cut(text: str) -> str:
    """Return the text within the API's limit, which counts bytes."""
    return text.encode()[:NOTE_LIMIT_BYTES].decode(errors="ignore")
