"""The Jobs that may reach the Hub, prepare and publish: one pod each, followed from its start to its end."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from finetune_api.contract import FINAL_EXIT_CODES
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.cleaning import force_stuck, replace_jobs
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.ending import fail
from finetune_operator.core.evidence import is_waiting_for_evidence, last_failure, results
from finetune_operator.core.failures import Failure
from finetune_operator.core.logs import with_log
from finetune_operator.core.observed import JobView, PodView
from finetune_operator.core.phases import enter
from finetune_operator.core.results import with_result
from finetune_operator.core.revisions import is_outdated
from finetune_operator.core.shortage import describe_queue, seconds_to_shortage
from finetune_operator.core.times import soonest
from finetune_operator.core.waiting import (
    StartProblem,
    find_complaint,
    find_hopeless,
    find_obstacle,
    seconds_to_next_look,
)

GOING_AWAY_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class HubJob:
    """The Job of prepare or of publish, in the words of the status."""

    phase: Phase
    reason: Reason
    message: str
    aspect: ConditionType
    """The condition that its failure makes False."""


def start(hub_job: HubJob, status: FinetuneJobStatus, situation: Situation, *, old: JobView | None) -> Decision:
    """Return the decision to which the children to make are added, unless an `old` Job of the name is going away."""
    status = _on_its_way(hub_job, status, situation, find_obstacle(situation.observed))
    return Decision(status=status, requeue_after=GOING_AWAY_SECONDS if old is not None else None)


def follow(
    hub_job: HubJob, status: FinetuneJobStatus, situation: Situation, job: JobView
) -> Decision | FinetuneJobStatus:
    """Return what to do while the Job is on its way or has failed, or the status with its results once it is done."""
    observed, now = situation.observed, situation.now
    pods = observed.pods_of(job.role)
    has_succeeded = any(pod.phase == "Succeeded" and pod.is_held for pod in pods)
    if not has_succeeded and is_waiting_for_evidence(job, pods, now):
        return Decision(status=status, requeue_after=1.0)
    if job.is_complete or has_succeeded:
        return _with_results(status, pods)
    if (
        is_outdated(job, situation.job)
        and not job.is_failed
        and not any(pod.phase in ("Running", "Succeeded") for pod in pods)
    ):
        again = replace(hub_job, message=f"{hub_job.message}; its Job is made anew, because the spec was changed")
        status = _on_its_way(again, status, situation, None)
        return Decision(status=status, delete=replace_jobs([job], situation.job), requeue_after=GOING_AWAY_SECONDS)
    last = last_failure(job, pods)
    last = with_log(last, situation.job, role=job.role) if last is not None else None
    has_failed = job.is_failed or any(map(is_last_try, pods))
    failure = _too_long(job, last) or last if has_failed else find_hopeless(observed, pods, now)
    if failure is not None:
        return fail(_with_results(status, pods), situation, failure, hub_job.aspect)
    if job.is_held:
        status = enter(status, situation, Phase.QUEUED, Reason.QUEUED, describe_queue(observed, job))
        return Decision(status=status, requeue_after=seconds_to_shortage(job, pods, now))
    forced, force_after = force_stuck(pods, now)
    status = _on_its_way(hub_job, status, situation, find_complaint(observed, job, pods, now), last)
    look_again = seconds_to_next_look(observed, job, pods, now)
    return Decision(status=status, delete=forced, requeue_after=soonest(force_after, look_again))


def is_last_try(pod: PodView) -> bool:
    """Tell whether our container failed as no other try mends, which its Job sees only once the others have ended."""
    ends = [one.termination.exit_code for one in pod.own_containers if one.termination is not None]
    return pod.is_held and pod.phase == "Failed" and any(code in FINAL_EXIT_CODES for code in ends)


def _too_long(job: JobView, last: Failure | None) -> Failure | None:
    """Return the failure of a Job that the Job controller has ended because its time is over."""
    if not job.failure.startswith("DeadlineExceeded"):
        return None
    words = f"; its last try: {last.message}" if last is not None else ""
    text = f"{job.role} took longer than spec.{job.role}TimeoutSeconds{words.removesuffix('.')}"
    next_step = GUIDANCE[Reason.DEADLINE_EXCEEDED].next_step
    return Failure(reason=Reason.DEADLINE_EXCEEDED, message=f"{text}. {next_step}")


def _on_its_way(
    hub_job: HubJob,
    status: FinetuneJobStatus,
    situation: Situation,
    complaint: StartProblem | None,
    last: Failure | None = None,
) -> FinetuneJobStatus:
    if complaint is not None:
        return enter(status, situation, hub_job.phase, complaint.reason, complaint.message)
    again = f"; it is tried again, because {last.message}" if last is not None else ""
    return enter(status, situation, hub_job.phase, hub_job.reason, hub_job.message + again)


def _with_results(status: FinetuneJobStatus, pods: Iterable[PodView]) -> FinetuneJobStatus:
    for result in results(tuple(pods)):
        status = with_result(status, result)
    return status
