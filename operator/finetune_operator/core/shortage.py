"""Jobs with fewer pods than they want: a quota, a limit range or a policy refuses them, or a queue holds them back."""

import re
from collections.abc import Iterable
from datetime import datetime

from finetune_api.contract import Role
from finetune_operator.core.observed import JobView, Notice, Observed, PodView
from finetune_operator.core.times import seconds_since

PATIENCE_SECONDS = 30
#: A queue decides a moment after it has seen a Job, and until then says nothing.
QUEUE_PATIENCE_SECONDS = 5
ASK_AGAIN_SECONDS = 60
NAMES = {Role.PREPARE: "prepare", Role.TRAIN: "training", Role.PUBLISH: "publish", Role.TRACK: "track"}
#: What Kueue says of a queue that is not in the namespace, or of a Job that names none.
NO_SUCH_QUEUE = re.compile(r"LocalQueue \S* doesn't exist")
# The pod's name is another one each time; without it the words stay the same.
# https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/controller/controller_utils.go
REFUSED = re.compile(r'Error creating: (?:pods? "[^"]*" is (?:forbidden: )?)?(?P<words>.+)', re.DOTALL | re.IGNORECASE)


def is_short(job: JobView, pods: tuple[PodView, ...], now: datetime) -> bool:
    """Tell whether pods are missing that should long be there: the Job's events may say why."""
    remaining = _remaining_patience(job, pods, now)
    return remaining is not None and remaining <= 0


def is_held_for_long(job: JobView, now: datetime) -> bool:
    """Tell whether a queue holds the Job back and may say why."""
    return job.is_held and _seconds_to_words(job, now) <= 0


def _seconds_to_words(job: JobView, now: datetime) -> float:
    return QUEUE_PATIENCE_SECONDS - seconds_since(job.held_since, now) if job.held_since is not None else 0.0


def seconds_to_shortage(job: JobView, pods: tuple[PodView, ...], now: datetime) -> float | None:
    """Return when to ask for the Job's events, or its queue, if pods are still missing then; None if none are."""
    remaining = _seconds_to_words(job, now) if job.is_held else _remaining_patience(job, pods, now)
    return ASK_AGAIN_SECONDS if remaining is not None and remaining <= 0 else remaining


def _remaining_patience(job: JobView, pods: tuple[PodView, ...], now: datetime) -> float | None:
    is_making_pods = not (job.is_finished or job.is_deleting or job.is_suspended)
    if not is_making_pods or job.started_at is None or len(pods) >= job.num_pods:
        return None
    return PATIENCE_SECONDS - seconds_since(job.started_at, now)


def explain_refusal(notices: Iterable[Notice]) -> str:
    """Return why the API server refused a pod, by the Events of its Job, oldest first; empty if they do not tell."""
    found = [match["words"] for notice in notices if (match := REFUSED.search(notice.message))]
    return found[-1] if found else ""


def describe_queue(observed: Observed, job: JobView) -> str:
    """Return that a queue holds the Job back, in its own words if they are known."""
    words = _words(observed, job)
    if NO_SUCH_QUEUE.fullmatch(words):
        words += ". Name one that does in spec.schedule.queueName"
        words += "" if job.role == Role.TRAIN else ", and let all roles carry it: queue.allRoles of the chart"
    return f"the queue has not admitted the {NAMES[job.role]} Job yet{f': {words}' if words else ''}"


def _words(observed: Observed, job: JobView) -> str:
    """Return what was said of the Job as it is now: a queue's words are no refusal once it has admitted the Job."""
    found = (one for one in observed.refusals if one.job_uid == job.uid and one.is_of_queue == job.is_held)
    return next((one.message for one in found), "")


def describe_shortage(observed: Observed, job: JobView, pods: tuple[PodView, ...], now: datetime) -> str:
    """Return why pods are missing, in the API server's own words; empty if none are, or if it is not known."""
    if not is_short(job, pods, now):
        return ""
    words = _words(observed, job)
    missing = f"{job.num_pods - len(pods)} of {job.num_pods} pods of Job {job.name}"
    return f"the API server refuses {missing}: {words}" if words else ""
