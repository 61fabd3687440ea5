"""What went wrong, from what is left of the pods: which failure came first, and whose fault it is.

When one rank fails, the others lose their peer and the Job controller terminates them. Those are consequences: they
never hide the cause, and the cause is the failure that ended first. See the table in `tests/operator`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from finetune_api.contract import EXIT_CODES, ExitCode, Role
from finetune_api.reasons import GUIDANCE, Reason
from finetune_operator.core.observed import NEVER_RAN, STATUS_UNKNOWN, ContainerView, JobView, PodView, Termination

SIGKILL_EXIT = 137
SIGTERM_EXIT = 143
NEVER = datetime.max.replace(tzinfo=UTC)

#: Reasons of the DisruptionTarget condition. A node that is gone is a fault; the rest is announced and free.
# https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
_LOST_NODE = ("DeletionByTaintManager", "DeletionByPodGC")
_KUBELET = "TerminationByKubelet"
#: What a pod's status.reason means that its node did not take or keep; others are told as they are. A device plugin
#: without a healthy device is an admission error.
_REASON_BY_NOTE = {"UnexpectedAdmissionError": Reason.NODE_FAULT, "NodeLost": Reason.NODE_LOST}
#: What runtimes and kubelets say of a container that was cut off from them, as when the node was booted anew.
# https://github.com/containerd/containerd/blob/v2.1.0/internal/cri/store/container/status.go
_CUT_OFF = ("Unknown", STATUS_UNKNOWN)
#: What kubelets say when a pod went over a limit of its own; where the node ran short there is a DisruptionTarget.
# https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/kubelet/eviction/helpers.go
_OVER_LIMIT = re.compile(r"exceeds the (total )?limit|exceeded its local ephemeral storage limit")

_REASON_BY_CODE: dict[int, Reason] = {
    **{code: reason for reason, code in reversed(EXIT_CODES.items())},
    ExitCode.BAD_DATA: Reason.BAD_SAMPLES,
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One failure, ready for status."""

    reason: Reason
    message: str
    is_consequence: bool = False
    """True when something else must have happened before, be it unseen."""
    is_announced: bool = False
    """True when the API server tells of it: a disruption, a deletion."""
    finished_at: datetime | None = None
    lines: tuple[str, ...] = ()
    """The last ones of the log of the rank that failed."""
    node: str = ""
    node_rank: int | None = None
    """Of the pod, if its container ran: its log stays on the volume."""
    rank: int | None = None
    """The rank that failed first, if it is known."""

    @property
    def is_retried(self) -> bool:
        """Tell whether another attempt may help."""
        return GUIDANCE[self.reason].retried


def find_failure(pods: Iterable[PodView], job: JobView | None) -> Failure | None:
    """Return the first cause among the pods of one Job, or None if all is well with them and with the Job."""
    pods = tuple(pods)
    first = min(filter(None, map(_failed_at, pods)), default=NEVER)
    found = [_as_swept(one, pod, first) for pod in pods if (one := pod_failure(pod)) is not None]
    if found:
        return min(found, key=lambda failure: (_weight(failure), failure.finished_at or NEVER))
    if job is not None and job.is_failed:
        return _unexplained(job)
    return None


def deleted(job: str) -> Failure:
    """Return the failure of a gang whose Job somebody deleted."""
    return replace(_failure(Reason.PREEMPTED, f"Job {job} was deleted"), is_announced=True)


def _failed_at(pod: PodView) -> datetime | None:
    """Return when the first of our containers in the pod failed."""
    ends = [one.termination for one in pod.own_containers if one.termination is not None and one.termination.exit_code]
    return min((end.finished_at for end in ends if end.finished_at is not None), default=None)


def _as_swept(failure: Failure, pod: PodView, first: datetime) -> Failure:
    """Return the failure of a pod that was told to go once another had failed, as a consequence that nobody announced.

    The Job controller removes the others of a gang that has lost one; that costs what the loss costs.
    """
    is_swept = pod.left_at is not None and pod.left_at >= first and not pod.disruption
    if failure.reason != Reason.PREEMPTED or not is_swept:
        return failure
    return replace(failure, is_consequence=True, is_announced=False)


def _weight(failure: Failure) -> int:
    if failure.reason == Reason.PREEMPTED and not failure.is_announced and failure.is_consequence:
        return 3
    if failure.reason == Reason.PEER_LOST:
        return 2
    return 1 if failure.is_consequence else 0


def _unexplained(job: JobView) -> Failure:
    reason = Reason.RANK_KILLED if job.role == Role.TRAIN else Reason.INTERNAL_ERROR
    return _failure(reason, f"Job {job.name} failed and left no pod to ask ({job.failure})", is_consequence=True)


def pod_failure(pod: PodView) -> Failure | None:
    """Return why a pod failed or is about to be lost; None while it is well."""
    failure = None if pod.phase == "Succeeded" else _find(pod)
    if failure is None:
        return None
    is_announced = bool(pod.disruption) or pod.gone_at is not None
    return replace(failure, node=pod.node, node_rank=pod.index if _has_run(pod) else None, is_announced=is_announced)


def _has_run(pod: PodView) -> bool:
    """Tell whether the container of the pod's role was started; preflight, before it, sees no volume."""
    own = [container for container in pod.containers if container.name == pod.role]
    ends = [container.termination for container in own if container.termination is not None]
    return any(container.running for container in own) or any(end.reason not in NEVER_RAN for end in ends)


def _find(pod: PodView) -> Failure | None:
    ended = next((c for c in pod.own_containers if c.termination is not None and c.termination.exit_code != 0), None)
    if pod.disruption and not _is_final(ended):
        return _disrupted(pod, ended)
    if pod.note and not _is_final(ended):
        return _refused(pod, ended)
    if ended is not None and ended.termination is not None:
        return _container_failure(pod, ended.termination)
    if pod.phase == "Failed":
        return _failure(Reason.RANK_KILLED, f"{_place(pod)} ended without running ({_of_others(pod)})")
    return _deleted(pod) if pod.gone_at is not None else None


def _deleted(pod: PodView) -> Failure:
    if pod.is_unheard:
        return _failure(Reason.NODE_LOST, f"{_place(pod)} is on a node that does not answer")
    return _failure(Reason.PREEMPTED, f"{_place(pod)} was deleted", is_consequence=True)


def _of_others(pod: PodView) -> str:
    """Return how containers that are not ours have failed, as one that is injected to run first."""
    ends = [
        f"container {one.name} with exit code {one.termination.exit_code}"
        for one in pod.containers
        if one.termination is not None and one.termination.exit_code
    ]
    return ", ".join(ends) or "no reason given"


def _is_final(container: ContainerView | None) -> bool:
    """Tell whether the container itself gave a reason that repeating cannot mend."""
    result = container.termination.result if container and container.termination else None
    return result is not None and result.reason in EXIT_CODES and not GUIDANCE[result.reason].retried


def _refused(pod: PodView, ended: ContainerView | None) -> Failure:
    """Return the failure of a pod that the kubelet did not take or has evicted, whatever code its containers got."""
    reason = _REASON_BY_NOTE.get(pod.note.partition(":")[0], Reason.RANK_KILLED)
    if _OVER_LIMIT.search(pod.note):
        reason = Reason.LIMIT_EXCEEDED
    text = f"{_place(pod)} was not kept by its node ({pod.note.rstrip('. ')})"
    return _failure(reason, text, finished_at=_finished_at(ended))


def _finished_at(container: ContainerView | None) -> datetime | None:
    return container.termination.finished_at if container and container.termination else None


def _disrupted(pod: PodView, ended: ContainerView | None) -> Failure:
    if pod.disruption in _LOST_NODE:
        reason = Reason.NODE_LOST
    elif pod.disruption == _KUBELET and "shutdown" not in pod.disruption_message.lower():
        reason = Reason.RANK_KILLED  # the node ran out of something: announced, but not for free
    else:
        reason = Reason.PREEMPTED
    text = f"{_place(pod)} was taken away ({pod.disruption}: {pod.disruption_message})"
    return _failure(reason, text, finished_at=_finished_at(ended))


def _container_failure(pod: PodView, termination: Termination) -> Failure:
    result = termination.result
    if termination.reason in NEVER_RAN:
        text = f"{_place(pod)} could not be started ({termination.words or termination.reason})"
        return _failure(Reason.NODE_FAULT, text, finished_at=termination.finished_at)
    if termination.reason in _CUT_OFF:
        text = f"the node or its container runtime was restarted below {_place(pod)}"
        return _failure(Reason.NODE_LOST, text, finished_at=termination.finished_at)
    if termination.reason == "OOMKilled":
        text = f"{_place(pod)} went over its memory limit and was killed"
        return _failure(Reason.OUT_OF_MEMORY, text, finished_at=termination.finished_at)
    if result is not None and result.reason in EXIT_CODES:
        who = pod.index if result.failed_rank is None else result.failed_rank
        text = result.message or f"ended with {result.reason}. {GUIDANCE[result.reason].next_step}"
        return Failure(
            reason=result.reason,
            message=f"rank {who}: {text}" if pod.role == Role.TRAIN else text,
            is_consequence=result.reason in (Reason.PEER_LOST, Reason.PREEMPTED),
            finished_at=termination.finished_at,
            rank=result.failed_rank,
            lines=tuple(result.last_lines),
        )
    return _by_exit_code(pod, termination)


def _by_exit_code(pod: PodView, termination: Termination) -> Failure:
    code = termination.exit_code
    if code == SIGKILL_EXIT:
        text, reason = "was killed from outside", Reason.RANK_KILLED
    elif code == SIGTERM_EXIT:
        text, reason = "was terminated from outside", Reason.PREEMPTED
    elif code in _REASON_BY_CODE:
        text, reason = "left no message", _REASON_BY_CODE[code]
    else:
        text, reason = "crashed", Reason.TRAINER_ERROR
    is_signalled_by_us = pod.gone_at is not None and code in (SIGKILL_EXIT, SIGTERM_EXIT)
    return _failure(
        reason,
        f"{_place(pod)} {text} with exit code {code}",
        is_consequence=is_signalled_by_us or reason in (Reason.PREEMPTED, Reason.PEER_LOST),
        finished_at=termination.finished_at,
    )


def _failure(
    reason: Reason, text: str, *, is_consequence: bool = False, finished_at: datetime | None = None
) -> Failure:
    message = f"{text}. {GUIDANCE[reason].next_step}".strip()
    return Failure(reason=reason, message=message, is_consequence=is_consequence, finished_at=finished_at)


def _place(pod: PodView) -> str:
    who = f"rank {pod.index}" if pod.role == Role.TRAIN else str(pod.role)
    return f"{who} (pod {pod.name}{f' on {pod.node}' if pod.node else ''})"
