"""The condition Tracked, of both Jobs that tell a tracker."""

from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus
from finetune_operator.core.conditions import ConditionValue, Finding
from finetune_operator.core.decision import Situation
from finetune_operator.core.evidence import last_failure
from finetune_operator.core.observed import JobView, PodView
from finetune_operator.core.phases import update_conditions
from finetune_operator.core.shortage import describe_queue
from finetune_operator.core.waiting import StartProblem, start_problem


def told(
    status: FinetuneJobStatus, situation: Situation, value: ConditionValue, reason: Reason, message: str
) -> FinetuneJobStatus:
    """Return the status with the condition Tracked."""
    return update_conditions(status, situation, Finding(ConditionType.TRACKED, value, reason, message))


def with_complaint(
    status: FinetuneJobStatus, situation: Situation, job: JobView, pods: tuple[PodView, ...]
) -> FinetuneJobStatus:
    """Return the status with what keeps the pod from starting, or why it is tried again, if anything is."""
    problem = next(filter(None, map(start_problem, pods)), None) or _unscheduled(pods)
    if job.is_held:
        problem = StartProblem(Reason.QUEUED, describe_queue(situation.observed, job))
    if problem is not None:
        return told(status, situation, "Unknown", problem.reason, problem.message)
    if (last := last_failure(job, pods)) is not None and not any(pod.gone_at for pod in pods):
        when = " once the job has ended" if job.is_failed else ""
        message = f"it is tried again{when}, because {last.message}"
        return told(status, situation, "Unknown", last.reason, message)
    return status


def _unscheduled(pods: tuple[PodView, ...]) -> StartProblem | None:
    words = next((pod.unscheduled for pod in pods if pod.unscheduled), "")
    return StartProblem(Reason.UNSCHEDULABLE, f"the track pod has no node yet: {words}") if words else None
