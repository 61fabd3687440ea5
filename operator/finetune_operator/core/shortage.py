"""Jobs with fewer pods than they want: a quota, a limit range or a policy refuses them, or a queue holds them back."""

import re
from collections.abc import Iterable
from datetime import datetime

from finetune_api.contract import Role
from finetune_operator.core.observed import JobView, Notice, Observed, PodView
from finetune_operator.core.times import seconds_since

PATIENCE_SECONDS = 30
ASK_AGAIN_SECONDS = 60
NAMES = {Role.PREPARE: "prepare", Role.TRAIN: "training", Role.PUBLISH: "publish"}
# The pod's name is another one each time; without it the words stay the same.
# https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/controller/controller_utils.go
REFUSED = re.compile(r'Error creating: (?:pods? "[^"]*" is (?:forbidden: )?)?(?P<words>.+)', re.DOTALL | re.IGNORECASE)


def is_short(job: JobView, pods: tuple[PodView, ...], now: datetime) -> bool:
    """Tell whether pods are missing that should long be there: the Job's events may say why."""
    remaining = _remaining_patience(job, pods, now)
    return remaining is not None and remaining <= 0


def seconds_to_shortage(job: JobView, pods: tuple[PodView, ...], now: datetime) -> float | None:
    """Return when to ask for the Job's events, or its queue, if pods are still missing then; None if none are."""
    if job.is_held:
        return ASK_AGAIN_SECONDS
    remaining = _remaining_patience(job, pods, now)
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
    return f"the queue has not admitted the {NAMES[job.role]} Job yet{f': {words}' if words else ''}"


def _words(observed: Observed, job: JobView) -> str:
    return next((refusal.message for refusal in observed.refusals if refusal.job_uid == job.uid), "")


def describe_shortage(observed: Observed, job: JobView, pods: tuple[PodView, ...], now: datetime) -> str:
    """Return why pods are missing, in the API server's own words; empty if none are, or if it is not known."""
    if not is_short(job, pods, now):
        return ""
    words = _words(observed, job)
    missing = f"{job.num_pods - len(pods)} of {job.num_pods} pods of Job {job.name}"
    return f"the API server refuses {missing}: {words}" if words else ""
