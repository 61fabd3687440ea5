"""From a trained model to its end: published, kept, or refused by the gate."""

from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_api.types import Publish
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.publish_job import build_publish_job
from finetune_operator.core.conditions import ConditionValue, Finding
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.ending import fail, succeed
from finetune_operator.core.evidence import is_waiting_for_evidence, last_failure, results
from finetune_operator.core.observed import JobView
from finetune_operator.core.phases import enter, update_conditions
from finetune_operator.core.preparing import suspended
from finetune_operator.core.results import with_result
from finetune_operator.core.waiting import find_complaint, find_hopeless, seconds_to_next_look

ON_THE_HUB = (Reason.PUBLISHED, Reason.ALREADY_PUBLISHED)


def publish(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Return what to do once training is done."""
    target = situation.job.spec.publish
    if target is None:
        message = "the model is on the job's volume; no spec.publish was given"
        status = update_conditions(status, situation, Finding(ConditionType.PUBLISHED, "False", Reason.COMPLETED))
        return succeed(status, situation, Reason.COMPLETED, message)
    job = situation.observed.job(Role.PUBLISH)
    if job is None or job.is_deleting:
        return _start(status, situation, target, job)
    return _follow(status, situation, target, job)


def _follow(status: FinetuneJobStatus, situation: Situation, target: Publish, job: JobView) -> Decision:
    observed, now = situation.observed, situation.now
    pods = observed.pods_of(Role.PUBLISH)
    if is_waiting_for_evidence(job, pods, now):
        return Decision(status=status, requeue_after=1.0)
    if job.is_complete:
        return _published(status, situation, results(pods))
    failure = last_failure(job, pods) if job.is_failed else find_hopeless(observed, pods, now)
    if failure is not None:
        return fail(status, situation, failure, ConditionType.PUBLISHED)
    status = _on_its_way(status, situation, target)
    if complaint := find_complaint(observed, job, pods, now):
        status = enter(status, situation, Phase.PUBLISHING, Reason.UNSCHEDULABLE, complaint)
    return Decision(status=status, requeue_after=seconds_to_next_look(observed, job, pods, now))


def _start(status: FinetuneJobStatus, situation: Situation, target: Publish, job: JobView | None) -> Decision:
    if situation.job.spec.suspend:
        return Decision(status=suspended(status, situation))
    status = _on_its_way(status, situation, target)
    if job is not None:  # an older one of the same name is still going away
        return Decision(status=status, requeue_after=2.0)
    platform = situation.platform
    config = build_config_map(situation.job, platform=platform)
    return Decision(status=status, apply=(config, build_publish_job(situation.job, target, platform=platform)))


def _on_its_way(status: FinetuneJobStatus, situation: Situation, target: Publish) -> FinetuneJobStatus:
    message = f"the model goes to {target.repository}"
    status = enter(status, situation, Phase.PUBLISHING, Reason.PUBLISHING, message)
    return update_conditions(status, situation, Finding(ConditionType.PUBLISHED, "Unknown", Reason.PUBLISHING, message))


def _published(status: FinetuneJobStatus, situation: Situation, found: list[RunResult]) -> Decision:
    for result in found:
        status = with_result(status, result)
    last = found[-1] if found else None
    reason = last.reason if last is not None else Reason.COMPLETED
    message = last.message if last is not None else "the publish Job completed; what it said was lost"
    is_published: ConditionValue = "Unknown" if last is None else "True" if reason in ON_THE_HUB else "False"
    status = update_conditions(status, situation, Finding(ConditionType.PUBLISHED, is_published, reason, message))
    return succeed(status, situation, reason, message)
