"""Why a job is where it is, and whose move it is."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import ConditionType, Phase
from finetune_api.telling import duration
from finetune_cli.cluster.stored import StoredJob


class Move(StrEnum):
    """Who has to do something before the job goes on, or ends otherwise."""

    NOBODY = "Nobody's"
    USER = "Your"
    CLUSTER = "The cluster's"
    PROJECT = "The developers'"


#: Of reasons that are charged to nobody, those that somebody has to do something about.
MOVES = {
    Reason.UNSCHEDULABLE: Move.CLUSTER,
    Reason.BLOCKED: Move.CLUSTER,
    Reason.PODS_REFUSED: Move.CLUSTER,
    Reason.POD_NOT_STARTED: Move.CLUSTER,
    Reason.POD_STUCK: Move.CLUSTER,
    Reason.NO_ANSWER: Move.CLUSTER,
    Reason.SUSPENDED: Move.USER,
    Reason.GATE_NOT_MET: Move.USER,
    Reason.MODEL_UNCHANGED: Move.USER,
    Reason.PUBLISH_SKIPPED: Move.USER,
}
_BY_FAULT = {Fault.USER: Move.USER, Fault.INFRASTRUCTURE: Move.CLUSTER, Fault.OPERATOR: Move.PROJECT}
_DOES = {
    Phase.PENDING: "waits",
    Phase.PREPARING: "prepares",
    Phase.QUEUED: "waits",
    Phase.TRAINING: "trains",
    Phase.RESTARTING: "restarts",
    Phase.PUBLISHING: "publishes",
    Phase.SUSPENDED: "is suspended",
    Phase.SUCCEEDED: "has succeeded",
    Phase.FAILED: "has failed",
}
#: An operator sees a new job within so many seconds, unless it does not run.
SEEN_SECONDS = 60
_UNSEEN = "NotSeen"
_FIND_OPERATOR = (
    "Look whether the operator runs: kubectl get deployments -A -l app.kubernetes.io/name=finetune-operator"
)
_BY_ITSELF = "It goes on by itself."


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The answer to: why, since when, and whose move is it?"""

    title: str
    phase: Phase
    reason: str
    message: str
    move: Move
    next_step: str
    seconds: float | None = None
    """For how long it has been so, if that is known."""

    @property
    def does(self) -> str:
        """Return what the job does, and for how long already."""
        return _DOES[self.phase] + (f" for {duration(self.seconds)}" if self.seconds is not None else "")

    @property
    def whose_move(self) -> str:
        """Return who is to do what."""
        return f"{self.move} move{f': {self.next_step}' if self.next_step else '.'}"

    def __str__(self) -> str:
        """Return it as one line."""
        because = f": {self.message.removesuffix('.')}" if self.message else ""
        return f"{self.title} {self.does} ({self.reason}){because}. {self.whose_move}"


def explain(job: StoredJob, now: datetime) -> Explanation:
    """Return why the job is where it is."""
    summary = job.condition(ConditionType.SUCCEEDED)
    if summary is None:
        return _unseen(job, now)
    silent = job.condition(ConditionType.PROGRESS_KNOWN)
    told = silent if silent is not None and silent.status == "False" else summary
    reason, message = told.reason, told.message
    guidance = GUIDANCE.get(Reason(reason)) if reason in set(Reason) else None
    advice = guidance.next_step if guidance else ""
    move = _move(job, reason)
    is_waiting = not job.is_finished and (move is Move.NOBODY or not advice)
    return Explanation(
        title=job.title,
        phase=job.phase,
        reason=reason,
        message=_without(message, advice),
        move=move,
        next_step=_BY_ITSELF if is_waiting else advice,
        seconds=_seconds(job, reason, now),
    )


def _unseen(job: StoredJob, now: datetime) -> Explanation:
    seconds = (now - job.created).total_seconds()
    is_late = seconds >= SEEN_SECONDS
    return Explanation(
        title=job.title,
        phase=job.phase,
        reason=_UNSEEN,
        message="no operator has looked at it yet",
        move=Move.CLUSTER if is_late else Move.NOBODY,
        next_step=_FIND_OPERATOR if is_late else _BY_ITSELF,
        seconds=seconds,
    )


def _move(job: StoredJob, reason: str) -> Move:
    if reason not in set(Reason):
        return Move.NOBODY  # a newer operator's; its message says what there is to say
    guidance = GUIDANCE[Reason(reason)]
    if guidance.fault is Fault.NOBODY:
        return MOVES.get(Reason(reason), Move.NOBODY)
    is_tried_again = not job.is_finished and guidance.retried
    return Move.NOBODY if is_tried_again else _BY_FAULT[guidance.fault]


def _without(message: str, next_step: str) -> str:
    """Return the message without the next step, which many of them end with."""
    return " ".join(message.replace(next_step, "").split()) if next_step else message


def _seconds(job: StoredJob, reason: str, now: datetime) -> float | None:
    """Return for how long a gang has waited for that reason."""
    scheduled = job.condition(ConditionType.SCHEDULED)
    if job.phase is not Phase.QUEUED or scheduled is None or scheduled.reason != reason:
        return None
    return (now - datetime.fromisoformat(scheduled.last_transition_time)).total_seconds()
