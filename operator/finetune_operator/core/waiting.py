"""Pods that do not start: which of their complaints will not pass by themselves, and how long to hope."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from finetune_api.reasons import GUIDANCE, Reason
from finetune_operator.core.failures import Failure
from finetune_operator.core.observed import JobView, Observed, PodView
from finetune_operator.core.shortage import describe_shortage, seconds_to_shortage
from finetune_operator.core.times import seconds_since

PATIENCE_SECONDS = 60
LOOK_AGAIN_SECONDS = 15
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
CONFIG_COMPLAINTS = ("CreateContainerConfigError",)
STILL_CREATING = ("ContainerCreating", "PodInitializing", "")
MISSING_SECRET = re.compile(
    r'secret "[^"]+" not found|non-existent secret key|couldn\'t find key .* in Secret', re.IGNORECASE
)


@dataclass(frozen=True)
class StartProblem:
    """A complaint that keeps a pod from starting."""

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
        if container.waiting_reason in CONFIG_COMPLAINTS:
            return StartProblem(Reason.SECRET_NOT_FOUND, text)
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


def explain_events(pod: PodView, messages: Iterable[str]) -> StartProblem | None:
    """Return the complaint that the pod's events show; kubelets say only there that a volume cannot be mounted."""
    for message in messages:
        if MISSING_SECRET.search(message):
            return StartProblem(Reason.SECRET_NOT_FOUND, f"pod {pod.name}: {message}")
    return None


def find_hopeless(observed: Observed, pods: Iterable[PodView], now: datetime) -> Failure | None:
    """Return why pods will never start, once that has been so for PATIENCE_SECONDS."""
    uids = {pod.uid for pod in pods}
    for trouble in observed.troubles:
        if trouble.pod_uid in uids and seconds_since(trouble.since, now) >= PATIENCE_SECONDS:
            message = f"{trouble.message}. {GUIDANCE[trouble.reason].next_step}"
            return Failure(reason=trouble.reason, message=message)
    return None


def find_complaint(observed: Observed, job: JobView, pods: tuple[PodView, ...], now: datetime) -> str:
    """Return why a Job's pods are not there or have no node, in the cluster's own words; empty if all is well."""
    unscheduled = [pod.unscheduled for pod in pods if pod.unscheduled]
    if not unscheduled:
        return describe_shortage(observed, job, pods, now)
    who = f"the {job.role.value} pod has" if job.num_pods == 1 else f"{len(unscheduled)} of {job.num_pods} pods have"
    return f"{who} no node yet: {unscheduled[0]}"


def seconds_to_next_look(observed: Observed, job: JobView, pods: tuple[PodView, ...], now: datetime) -> float | None:
    """Return when a pod that is not there or does not start yet deserves another look, or None."""
    uids = {pod.uid for pod in pods}
    troubled = [t for t in observed.troubles if t.pod_uid in uids]
    times = [max(1.0, PATIENCE_SECONDS - seconds_since(trouble.since, now)) for trouble in troubled]
    times += [seconds for pod in pods if (seconds := seconds_to_stuck(pod, now)) is not None]
    missing = seconds_to_shortage(job, pods, now)
    return min([*times, *([] if missing is None else [missing])], default=None)
