"""From the start to validated inputs: one Job that fetches and checks everything before an accelerator is asked for."""

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.prepare_job import build_prepare_job
from finetune_operator.core.children.train_job import build_train_job
from finetune_operator.core.children.volume_claim import build_volume_claim
from finetune_operator.core.conditions import Finding, is_true
from finetune_operator.core.decision import Decision, Manifest, Situation
from finetune_operator.core.ending import fail
from finetune_operator.core.evidence import is_waiting_for_evidence, last_failure, results
from finetune_operator.core.gang import train_jobs
from finetune_operator.core.observed import JobView, PodView
from finetune_operator.core.phases import enter, update_conditions
from finetune_operator.core.results import with_result
from finetune_operator.core.waiting import find_complaint, find_hopeless, seconds_to_next_look


def is_prepared(status: FinetuneJobStatus, situation: Situation) -> bool:
    """Tell whether inputs are known to be good: from status, or, should that be lost, from what was built on them."""
    return is_true(status, ConditionType.VALIDATED) or status.attempt > 0 or bool(train_jobs(situation.observed))


def prepare(status: FinetuneJobStatus, situation: Situation) -> Decision | FinetuneJobStatus:
    """Return what to do until inputs are validated, or the status with which to go on once they are."""
    observed, now = situation.observed, situation.now
    job, pods = observed.job(Role.PREPARE), observed.pods_of(Role.PREPARE)
    if job is None or job.is_deleting:
        return _start(status, situation, job)
    if is_waiting_for_evidence(job, pods, now):
        return Decision(status=status, requeue_after=1.0)
    if job.is_complete:
        return _validated(_with_results(status, pods), situation)
    failure = last_failure(job, pods) if job.is_failed else find_hopeless(observed, pods, now)
    if failure is not None:
        return fail(_with_results(status, pods), situation, failure, ConditionType.VALIDATED)
    return _wait(status, situation, job, pods)


def _start(status: FinetuneJobStatus, situation: Situation, job: JobView | None) -> Decision:
    if situation.job.spec.suspend:
        return Decision(status=suspended(status, situation))
    message = "model and data are fetched and checked before an accelerator is asked for"
    status = enter(status, situation, Phase.PREPARING, Reason.PREPARING, message)
    if job is not None:  # an older one of the same name is still going away
        return Decision(status=status, requeue_after=2.0)
    first_gang = build_train_job(situation.job, attempt=1, platform=situation.platform)
    return Decision(status=status, rehearse=(first_gang,), apply=_children(situation))


def _children(situation: Situation) -> tuple[Manifest, ...]:
    """Return what prepare needs, its Job last: once that is there, so is the rest."""
    job, platform = situation.job, situation.platform
    claims = [build_volume_claim(job)] if job.spec.storage.existing_claim is None else []
    return (build_config_map(job, platform=platform), *claims, build_prepare_job(job, platform=platform))


def _with_results(status: FinetuneJobStatus, pods: tuple[PodView, ...]) -> FinetuneJobStatus:
    for result in results(pods):
        status = with_result(status, result)
    return status


def _validated(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    finding = Finding(ConditionType.VALIDATED, "True", Reason.VALIDATED, "model and data are here and fit the spec")
    return update_conditions(status, situation, finding)


def _wait(status: FinetuneJobStatus, situation: Situation, job: JobView, pods: tuple[PodView, ...]) -> Decision:
    if situation.job.spec.suspend:
        return Decision(status=suspended(status, situation))
    observed, now = situation.observed, situation.now
    if complaint := find_complaint(observed, job, pods, now):
        status = enter(status, situation, Phase.PREPARING, Reason.UNSCHEDULABLE, complaint)
    else:
        message = "model and data are fetched and checked before an accelerator is asked for"
        status = enter(status, situation, Phase.PREPARING, Reason.PREPARING, message)
    return Decision(status=status, requeue_after=seconds_to_next_look(observed, job, pods, now))


def suspended(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Return the status of a job that its owner holds back."""
    message = "spec.suspend is true; set it to false to go on"
    return enter(status, situation, Phase.SUSPENDED, Reason.SUSPENDED, message)
