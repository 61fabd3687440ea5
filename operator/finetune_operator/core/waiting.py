"""Pods that do not start: which of their complaints will not pass by themselves, and how long to hope."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_operator.core.failures import Failure
from finetune_operator.core.gang import seconds_to_force
from finetune_operator.core.observed import JobView, Notice, Observed, PodView, Trouble
from finetune_operator.core.shortage import describe_shortage, seconds_to_shortage
from finetune_operator.core.times import format_time, seconds_since

PATIENCE_SECONDS = 60
#: A registry may be away, and a Secret be synced late; who waits for them holds no accelerator, or gives it back.
LONG_PATIENCE_SECONDS = 1800
LOOK_AGAIN_SECONDS = 15
#: Every pod with a volume of its own has no node until the volume is bound; that is nobody's worry.
UNSCHEDULED_SECONDS = 10
# https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/kubelet/images/types.go
IMAGE_COMPLAINTS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
# https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/kubelet/kuberuntime/kuberuntime_container.go
CONTAINER_COMPLAINTS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff")
STILL_CREATING = ("ContainerCreating", "PodInitializing", "")
MISSING_SECRET = re.compile(
    r'secret "[^"]+" not found|non-existent secret key|couldn\'t find key .* in Secret', re.IGNORECASE
)


@dataclass(frozen=True)
class StartProblem:
    """What keeps pods from being made or from starting, as it is told to people."""

    reason: Reason
    message: str


def start_problem(pod: PodView) -> StartProblem | None:
    """Return the complaint that a pod's own status shows, or None."""
    if pod.is_terminal:
        return None
    for container in pod.containers:
        text = f"pod {pod.name}: {container.waiting_message or container.waiting_reason}"
        if container.waiting_reason in IMAGE_COMPLAINTS:
            return StartProblem(Reason.IMAGE_UNAVAILABLE, text)
        if container.waiting_reason in CONTAINER_COMPLAINTS:
            is_about_secret = MISSING_SECRET.search(container.waiting_message)
            return StartProblem(Reason.SECRET_NOT_FOUND if is_about_secret else Reason.POD_NOT_STARTED, text)
    return None


def is_stuck(pod: PodView, now: datetime) -> bool:
    """Tell whether a pod has a node for long, but no container: its events may say why."""
    has_started = any(container.running or container.termination is not None for container in pod.containers)
    is_creating = all(container.waiting_reason in STILL_CREATING for container in pod.containers)
    is_waiting = pod.phase == "Pending" and pod.gone_at is None and pod.scheduled_at is not None
    return is_waiting and is_creating and not has_started and seconds_since(pod.scheduled_at, now) >= PATIENCE_SECONDS


def seconds_to_stuck(pod: PodView, now: datetime) -> float | None:
    """Return when to ask for a pod's events, if it is still being created then; None if it needs no watching."""
    if pod.phase != "Pending" or pod.scheduled_at is None:
        return None
    remaining = PATIENCE_SECONDS - seconds_since(pod.scheduled_at, now)
    return remaining if remaining > 0 else LOOK_AGAIN_SECONDS


def explain_events(pod: PodView, notices: Sequence[Notice]) -> StartProblem | None:
    """Return what the pod's Events complain of; kubelets say only there that a volume cannot be mounted.

    A warning from before the pod had a node, or one that something else happened after, explains nothing any more.
    """
    for notice in notices:
        if notice.is_warning and MISSING_SECRET.search(notice.message):
            return StartProblem(Reason.SECRET_NOT_FOUND, f"pod {pod.name}: {notice.message}")
    newest = notices[-1] if notices else None
    if newest is None or not newest.is_warning or _is_older(newest.seen_at, pod.scheduled_at):
        return None
    return StartProblem(Reason.POD_NOT_STARTED, f"pod {pod.name}: {newest.message}")


def _is_older(time: datetime | None, than: datetime | None) -> bool:
    return time is not None and than is not None and time < than


def find_hopeless(observed: Observed, pods: Iterable[PodView], now: datetime) -> Failure | None:
    """Return why pods will not start before somebody does something, once that has been so for long."""
    for trouble in _troubles(observed, pods):
        is_hopeless = GUIDANCE[trouble.reason].fault == Fault.USER
        if is_hopeless and seconds_since(trouble.since, now) >= LONG_PATIENCE_SECONDS:
            message = f"{trouble.message}. {GUIDANCE[trouble.reason].next_step}"
            return Failure(reason=trouble.reason, message=message)
    return None


def find_complaint(observed: Observed, job: JobView, pods: tuple[PodView, ...], now: datetime) -> StartProblem | None:
    """Return why a Job's pods are not there, have no node or do not start, in the cluster's words; None if they do."""
    if stuck := find_stuck(pods, now):
        return stuck
    if text := describe_shortage(observed, job, pods, now):
        return StartProblem(Reason.PODS_REFUSED, text)
    if text := _unscheduled(job, pods, now):
        return StartProblem(Reason.UNSCHEDULABLE, text)
    trouble = next(_troubles(observed, pods), None)
    return StartProblem(trouble.reason, trouble.message) if trouble is not None else None


def find_stuck(pods: Iterable[PodView], now: datetime) -> StartProblem | None:
    """Return which pod should be gone from a node that answers; it is not removed by force."""
    for pod in pods:
        seconds = seconds_to_force(pod, now)
        if seconds is not None and seconds <= 0 and not pod.is_node_dead and not pod.is_terminal:
            text = f"pod {pod.name} should be gone since {format_time(pod.gone_at or now)}, and node {pod.node} answers"
            return StartProblem(Reason.POD_STUCK, f"{text}. {GUIDANCE[Reason.POD_STUCK].next_step}")
    return None


def find_obstacle(observed: Observed) -> StartProblem | None:
    """Return why the API server does not take a child of the job, though it may later; None if it does."""
    return StartProblem(Reason.BLOCKED, observed.obstacle) if observed.obstacle else None


def _unscheduled(job: JobView, pods: tuple[PodView, ...], now: datetime) -> str:
    messages = [pod.unscheduled for pod in pods if pod.unscheduled and not _seconds_to_unscheduled(pod, now)]
    if not messages:
        return ""
    who = f"the {job.role.value} pod has" if job.num_pods == 1 else f"{len(messages)} of {job.num_pods} pods have"
    return f"{who} no node yet: {messages[0]}"


def _seconds_to_unscheduled(pod: PodView, now: datetime) -> float | None:
    """Return when to tell that a pod has no node; None if that is so already, or if it has one."""
    if not pod.unscheduled or pod.unscheduled_since is None:
        return None
    remaining = UNSCHEDULED_SECONDS - seconds_since(pod.unscheduled_since, now)
    return remaining if remaining > 0 else None


def _troubles(observed: Observed, pods: Iterable[PodView]) -> Iterator[Trouble]:
    uids = {pod.uid for pod in pods}
    return (trouble for trouble in observed.troubles if trouble.pod_uid in uids)


def seconds_to_next_look(
    observed: Observed,
    job: JobView,
    pods: tuple[PodView, ...],
    now: datetime,
) -> float | None:
    """Return when a pod that is not there or does not start yet deserves another look, or None."""
    troubled = [t for t in _troubles(observed, pods) if GUIDANCE[t.reason].fault == Fault.USER]
    times = [max(1.0, LONG_PATIENCE_SECONDS - seconds_since(trouble.since, now)) for trouble in troubled]
    times += [seconds for pod in pods if (seconds := seconds_to_stuck(pod, now)) is not None]
    times += [seconds for pod in pods if (seconds := _seconds_to_unscheduled(pod, now)) is not None]
    missing = seconds_to_shortage(job, pods, now)
    return min([*times, *([] if missing is None else [missing])], default=None)
