"""From the end of a job to a tracker that knows all of it: one more Job, which changes nothing of that end.

It is made only then, as only then all is known: how it ended, what was published, what it has cost. The condition
Tracked is Unknown until it is settled; so long the volume stays.
"""

from dataclasses import replace

from finetune_api.contract import Role
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus
from finetune_api.tracking import Tracking
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.hub_job import TRACK_SECONDS
from finetune_operator.core.children.track_job import build_track_job
from finetune_operator.core.cleaning import clean_up, is_tracking
from finetune_operator.core.conditions import find_condition
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.evidence import is_waiting_for_evidence, last_failure, results
from finetune_operator.core.failures import Failure
from finetune_operator.core.hub_jobs import GOING_AWAY_SECONDS, is_last_try
from finetune_operator.core.live import is_told_meanwhile
from finetune_operator.core.observed import JobView, PodView
from finetune_operator.core.results import with_result
from finetune_operator.core.telling import told, with_complaint
from finetune_operator.core.times import parse_time, seconds_since, soonest

#: A queue, a quota or a node may keep the Job from being made, or from running; the volume does not wait for ever.
GIVE_UP_SECONDS = 3.0 * TRACK_SECONDS


def track(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Return what a job that has ended still needs: its tracker told, and what it leaves behind removed."""
    tracking = situation.job.spec.tracking
    if not is_tracking(status):
        return clean_up(status, situation)
    if tracking is None:  # its owner has thought better of it
        left = [one for one in status.conditions if one.type != ConditionType.TRACKED]
        return clean_up(status.model_copy(update={"conditions": left}), situation)
    step = _step(status, situation, tracking)
    rest = clean_up(step.status, situation)
    return replace(rest, apply=step.apply, requeue_after=soonest(step.requeue_after, rest.requeue_after))


def _step(status: FinetuneJobStatus, situation: Situation, tracking: Tracking) -> Decision:
    observed, now = situation.observed, situation.now
    remaining = GIVE_UP_SECONDS - seconds_since(parse_time(status.completion_time), now)
    job, pods = observed.job(Role.TRACK), observed.pods_of(Role.TRACK)
    if job is not None and not job.is_deleting and is_waiting_for_evidence(job, pods, now):
        return Decision(status=status, requeue_after=1.0)
    if job is not None and (end := _end(status, situation, job, pods)) is not None:
        return Decision(status=end)
    if remaining <= 0:
        return Decision(status=_settled(status, situation, _too_long(status, GIVE_UP_SECONDS)))
    if job is None and not is_told_meanwhile(observed):  # two that write at once would write twice
        return _start(status, situation, tracking, remaining)
    if job is None or job.is_deleting:
        return Decision(status=status, requeue_after=GOING_AWAY_SECONDS)
    return Decision(status=with_complaint(status, situation, job, pods), requeue_after=remaining)


def _end(
    status: FinetuneJobStatus, situation: Situation, job: JobView, pods: tuple[PodView, ...]
) -> FinetuneJobStatus | None:
    """Return the status once the tracker was told, or will not be; None until then."""
    # Its Job ends a moment after the pod, and is not cut off before; unless a container beside ours keeps it.
    if job.is_complete or any(pod.phase == "Succeeded" and pod.is_held for pod in pods):
        return _tracked(status, situation, pods)
    failure = _failure(status, job, pods)
    return None if failure is None else _settled(status, situation, failure)


def _start(status: FinetuneJobStatus, situation: Situation, tracking: Tracking, remaining: float) -> Decision:
    job, platform = situation.job, situation.platform
    if obstacle := situation.observed.obstacle:
        status = told(status, situation, "Unknown", Reason.BLOCKED, obstacle)
    children = (
        build_config_map(job, platform=platform),
        build_track_job(job, tracking, status, platform=platform),
    )
    return Decision(status=status, apply=children, requeue_after=remaining)


def _tracked(status: FinetuneJobStatus, situation: Situation, pods: tuple[PodView, ...]) -> FinetuneJobStatus:
    found = results(pods)
    message = "the tracker was told; what the pod said of it was lost"
    for result in found:
        status, message = with_result(status, result), result.message
    return told(status, situation, "True", Reason.TRACKED, message)


def _failure(status: FinetuneJobStatus, job: JobView, pods: tuple[PodView, ...]) -> Failure | None:
    """Return why the tracker will not be told, once that is certain."""
    if job.failure.startswith("DeadlineExceeded"):
        return _too_long(status, TRACK_SECONDS)
    return last_failure(job, pods) if job.is_failed or any(map(is_last_try, pods)) else None


def _too_long(status: FinetuneJobStatus, seconds: float) -> Failure:
    """Return the failure of a Job whose time is over, for the reason that was told last."""
    last = find_condition(status, ConditionType.TRACKED)
    is_known = last is not None and last.reason != Reason.TRACKING
    reason = Reason(last.reason) if last is not None and is_known else Reason.TRACKER_UNAVAILABLE
    words = f"; at last: {last.message}" if last is not None and is_known else ""
    return Failure(reason=reason, message=f"the tracker was not told within {seconds:.0f} s{words}")


def _settled(status: FinetuneJobStatus, situation: Situation, failure: Failure) -> FinetuneJobStatus:
    advice = GUIDANCE[failure.reason].next_step
    message = failure.message.removesuffix(advice).rstrip(". ")
    return told(status, situation, "False", failure.reason, f"{message}. {advice}")
