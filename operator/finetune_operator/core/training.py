"""From validated inputs to a trained model: one gang after another until one reaches the end.

`status.attempt` is the gang that may live. Raising it is how a gang is given up: the raise, the charge to a budget and
the reason go into the status in one write, and only then are older gangs removed. Nothing else has to be remembered.
"""

from dataclasses import replace

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core import names
from finetune_operator.core.avoiding import without_forgotten
from finetune_operator.core.budgets import seconds_to_restart
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.pod_group import build_pod_group, is_gang_scheduled
from finetune_operator.core.children.service import build_service
from finetune_operator.core.children.train_job import build_train_job
from finetune_operator.core.cleaning import delete_group, delete_outdated, kept_jobs
from finetune_operator.core.conditions import Finding, find_condition
from finetune_operator.core.decision import Decision, Manifest, Situation
from finetune_operator.core.ending import fail
from finetune_operator.core.evidence import EVIDENCE_SECONDS
from finetune_operator.core.failures import deleted
from finetune_operator.core.gang import Gang, gather, train_jobs, train_pods
from finetune_operator.core.limits import over_limit, seconds_to_limit
from finetune_operator.core.phases import update_conditions
from finetune_operator.core.results import merge_warnings, with_result, with_training_done
from finetune_operator.core.retiring import (
    give_back,
    is_anything_left,
    next_attempt,
    remove_older,
    restart,
    restarting,
    retire,
)
from finetune_operator.core.returning import next_size, seconds_to_turn
from finetune_operator.core.revisions import find_unusable, is_outdated
from finetune_operator.core.times import seconds_since, soonest
from finetune_operator.core.underway import queued, show_running, show_waiting, waiting_its_turn
from finetune_operator.core.verdict import State, Verdict, judge
from finetune_operator.core.waiting import find_obstacle

#: Why the Job of a gang that waits has not been made.
NOT_MADE = (Reason.GANG_RETURNED, Reason.BLOCKED, Reason.INVALID_SPEC)


def is_trained(status: FinetuneJobStatus) -> bool:
    """Tell whether a gang reached the end."""
    training = find_condition(status, ConditionType.TRAINING)
    return training is not None and training.reason == Reason.TRAINED


def train(status: FinetuneJobStatus, situation: Situation) -> Decision | FinetuneJobStatus:
    """Return what to do until a gang reaches the end, or the status with which to go on once one has."""
    newest = max((job.attempt for job in train_jobs(situation.observed)), default=0)
    status = status.model_copy(update={"attempt": max(status.attempt, newest)})
    status = status.model_copy(update={"warnings": merge_warnings(status.warnings, kept_jobs(situation))})
    job = situation.observed.job(Role.TRAIN, attempt=status.attempt) if status.attempt else None
    if job is None:
        return _within_limits(_without_gang(status, situation), situation)
    pods = situation.observed.pods_of(Role.TRAIN, attempt=status.attempt)
    gang = gather(job, pods)
    verdict = judge(gang, status, situation)
    if verdict.state is State.SUCCEEDED:
        return _trained(status, situation, gang)
    if situation.job.spec.suspend:
        return retire(next_attempt(status), situation)
    return _within_limits(_with_gang(status, situation, gang, verdict), situation)


def _within_limits(decision: Decision, situation: Situation) -> Decision:
    """Return the decision, or the end of a job that has trained or waited for as long as it may."""
    remaining = seconds_to_limit(decision.status, situation)
    if remaining is not None and remaining <= 0:
        return fail(decision.status, situation, over_limit(decision.status, situation))
    return replace(decision, requeue_after=soonest(decision.requeue_after, remaining))


def _without_gang(status: FinetuneJobStatus, situation: Situation) -> Decision:
    if situation.job.spec.suspend:
        has_orphans = any(pod.attempt == status.attempt for pod in train_pods(situation.observed))
        return retire(next_attempt(status) if has_orphans else status, situation)
    if _had_gang(status, situation):
        return restart(status, situation, deleted(names.train_job(situation.job, status.attempt)))
    if is_anything_left(situation):
        return retire(status, situation)
    if wait := seconds_to_restart(status.restarts, situation.now):
        text = f"attempt {status.attempt} waits, because gangs before it were lost one after another"
        return Decision(status=restarting(status, situation, text), requeue_after=soonest(wait))
    if wait := seconds_to_turn(status, situation):
        return Decision(status=waiting_its_turn(status, situation), requeue_after=soonest(wait))
    status = without_forgotten(status, situation.now).model_copy(update={"attempt": max(1, status.attempt)})
    return _make_gang(status, situation)


def _make_gang(status: FinetuneJobStatus, situation: Situation) -> Decision:
    if unusable := find_unusable(situation.job):
        return Decision(status=queued(status, situation, unusable.reason, unusable.message))
    if obstacle := find_obstacle(situation.observed):
        status = queued(status, situation, obstacle.reason, obstacle.message)
    else:
        status = queued(status, situation, Reason.WAITING_FOR_GANG, "the training pods are being made")
        status = update_conditions(
            status, situation, Finding(ConditionType.SCHEDULED, "Unknown", Reason.WAITING_FOR_GANG)
        )
    outdated = delete_outdated(situation.observed.jobs, situation.job)
    delete = (*outdated, *delete_group(situation, attempt=status.attempt - 1))
    return Decision(status=status, delete=delete, apply=_children(status, situation))


def _had_gang(status: FinetuneJobStatus, situation: Situation) -> bool:
    """Tell whether the Job of `status.attempt`, which is not there, has been: a number is never given twice."""
    scheduled = find_condition(status, ConditionType.SCHEDULED)
    has_waited = scheduled is not None and scheduled.status != "Unknown" and scheduled.reason not in NOT_MADE
    is_made = has_waited or 0 < status.attempt <= situation.observed.newest_attempt
    is_seen = is_made and status.phase in (Phase.QUEUED, Phase.TRAINING)
    return is_seen or bool(status.attempt and situation.observed.pods_of(Role.TRAIN, attempt=status.attempt))


def _children(status: FinetuneJobStatus, situation: Situation) -> tuple[Manifest, ...]:
    job, platform = situation.job, situation.platform
    is_grouped = is_gang_scheduled(job, platform=platform)
    size = next_size(status.gang_returns, job.spec.resources)
    groups = [build_pod_group(job, attempt=status.attempt, num_nodes=size, platform=platform)] if is_grouped else []
    avoided = [node.name for node in status.avoided_nodes]
    gang = build_train_job(job, attempt=status.attempt, num_nodes=size, platform=platform, avoided_nodes=avoided)
    return (build_config_map(job, platform=platform), build_service(job), *groups, gang)


def _with_gang(status: FinetuneJobStatus, situation: Situation, gang: Gang, verdict: Verdict) -> Decision:
    if failure := verdict.failure:
        wait = gang.seconds_to_settle(failure, situation.now)
        if wait > 0:
            return Decision(status=status, requeue_after=soonest(wait))
        return restart(status, situation, failure)
    left = remove_older(status, situation)
    if left.delete:
        return left
    if verdict.state is State.RUNNING:
        return show_running(status, situation, gang)
    waits = _with_gang_that_waits(status, situation, gang, is_overdue=verdict.state is State.OVERDUE)
    return replace(waits, requeue_after=soonest(waits.requeue_after, left.requeue_after))


def _with_gang_that_waits(status: FinetuneJobStatus, situation: Situation, gang: Gang, *, is_overdue: bool) -> Decision:
    if status.phase == Phase.QUEUED and is_outdated(gang.job, situation.job):
        text = f"attempt {status.attempt + 1} takes the place of one that waited, because the spec was changed"
        return retire(next_attempt(restarting(status, situation, text)), situation)
    if is_overdue:
        return give_back(status, situation, gang)
    return show_waiting(status, situation, gang)


def _trained(status: FinetuneJobStatus, situation: Situation, gang: Gang) -> Decision | FinetuneJobStatus:
    result = gang.leader_result()
    age = seconds_since(gang.job.finished_at, situation.now)
    if result is None and gang.job.finished_at is not None and 0 <= age < EVIDENCE_SECONDS:
        return Decision(status=status, requeue_after=1.0)
    status = with_training_done(with_result(status, result))
    message = f"attempt {status.attempt} reached the end"
    return update_conditions(
        status,
        situation,
        Finding(ConditionType.SCHEDULED, "True", Reason.TRAINED),
        Finding(ConditionType.TRAINING, "False", Reason.TRAINED, message),
    )
