"""How a gang is given up and removed, so that the next one finds nobody at work on its volume."""

from finetune_api.contract import Role
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.avoiding import with_fault
from finetune_operator.core.budgets import (
    budget_of,
    charge,
    given_back,
    is_affordable,
    is_hopeless,
    record_loss,
    seconds_to_restart,
)
from finetune_operator.core.cleaning import delete_orphans, force_stuck, is_gone, replace_jobs
from finetune_operator.core.conditions import Finding, reason_of
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.ending import fail
from finetune_operator.core.failures import Failure
from finetune_operator.core.gang import Gang, train_jobs, train_pods
from finetune_operator.core.logs import with_log
from finetune_operator.core.phases import enter, suspended, update_conditions
from finetune_operator.core.results import with_progress, with_result
from finetune_operator.core.returning import count_return, describe_return, is_out_of_patience
from finetune_operator.core.underway import queued
from finetune_operator.core.verdict import current_report
from finetune_operator.core.waiting import find_complaint, find_stuck


def restart(status: FinetuneJobStatus, situation: Situation, failure: Failure) -> Decision:
    """Give the gang up: charge the budget, or end the job when nothing pays for another attempt."""
    status = _with_last_words(status, situation)
    failure = with_log(failure, situation.job, role=Role.TRAIN, attempt=status.attempt)
    spent, lost = given_back(status), record_loss(failure, status, situation.now)
    is_last, numbers = is_hopeless(status, lost), f"{status.attempt - 1} and {status.attempt}"
    status = with_fault(status.model_copy(update={"last_failure": lost}), failure, situation.now)
    text = ""
    if failure.is_retried and is_last:
        text = f"attempts {numbers} were lost in the same way, without a step in between; the last cause was: "
    elif failure.is_retried and not is_affordable(failure, spent=spent, retry=situation.job.spec.retry):
        text = f"spec.retry.{budget_of(failure)} is used up; the last cause was: "
    if text or not failure.is_retried:
        last = Failure(reason=failure.reason, message=text + failure.message)
        return fail(status, situation, last, ConditionType.TRAINING)
    status = status.model_copy(update={"restarts": charge(failure, spent, now=situation.now)})
    message = _restart_message(status, failure, wait=seconds_to_restart(status.restarts, situation.now))
    status = enter(status, situation, Phase.RESTARTING, failure.reason, message)
    training = Finding(ConditionType.TRAINING, "False", failure.reason, failure.message)
    return retire(next_attempt(update_conditions(status, situation, training)), situation)


def give_back(status: FinetuneJobStatus, situation: Situation, gang: Gang) -> Decision:
    """Remove a gang that holds nodes and does not run whole; it is made again in its turn, and charged to nobody."""
    complaint = find_complaint(situation.observed, gang.job, gang.pods, situation.now)
    reason = Reason.WAITING_FOR_GANG if complaint is None else complaint.reason
    words = "" if complaint is None else f" ({complaint.message.removesuffix('.')})"
    spec, returns = situation.job.spec, count_return(status.gang_returns, situation, gang, reason)
    if is_out_of_patience(returns, situation.now):
        message = f"gangs in a row did not start{words}. {GUIDANCE[reason].next_step}"
        return fail(status, situation, Failure(reason=reason, message=message), ConditionType.TRAINING)
    message = (
        f"attempt {status.attempt} gave its nodes back: {gang.num_running} of {gang.num_nodes} pods ran after "
        f"{spec.schedule.gang_timeout_seconds} s{words}. {describe_return(returns, spec.resources)}"
    )
    status = next_attempt(status.model_copy(update={"gang_returns": returns}))
    return remove_older(queued(status, situation, Reason.GANG_RETURNED, message), situation)


def next_attempt(status: FinetuneJobStatus) -> FinetuneJobStatus:
    """Return the status with which the gang that lives now is given up."""
    return status.model_copy(update={"attempt": status.attempt + 1})


def retire(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Remove every gang older than status.attempt, and wait until their last pod is gone."""
    if situation.job.spec.suspend:
        status = update_conditions(
            suspended(status, situation),
            situation,
            Finding(ConditionType.TRAINING, "False", Reason.SUSPENDED),
            Finding(ConditionType.SCHEDULED, "False", Reason.SUSPENDED),
        )
    elif stuck := find_stuck(train_pods(situation.observed), situation.now):
        status = enter(status, situation, Phase.RESTARTING, stuck.reason, stuck.message)
    else:
        status = restarting(status, situation, "the pods of the attempt before are still going away")
    return remove_older(status, situation)


def is_anything_left(situation: Situation) -> bool:
    """Tell whether a gang may still be at work, or make pods: of a Job that goes, only the pods count."""
    observed = situation.observed
    is_living = any(not job.is_deleting for job in train_jobs(observed))
    return is_living or any(not is_gone(pod, situation.now) for pod in train_pods(observed))


def remove_older(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Return the removal of what is left of attempts before status.attempt, and of all that is on silent nodes."""
    observed = situation.observed
    jobs = [job for job in train_jobs(observed) if job.attempt < status.attempt]
    pods = [pod for pod in train_pods(observed) if pod.attempt < status.attempt]
    forced, wait = force_stuck(train_pods(observed), situation.now)
    delete = (*replace_jobs(jobs, situation.job), *delete_orphans(observed, pods), *forced)
    return Decision(status=status, delete=delete, requeue_after=wait)


def restarting(status: FinetuneJobStatus, situation: Situation, why: str) -> FinetuneJobStatus:
    """Return the status between two gangs; it keeps what it tells of the end of the one before."""
    if status.phase == Phase.RESTARTING or reason_of(status) == Reason.GANG_RETURNED:
        return status
    return enter(status, situation, Phase.RESTARTING, Reason.RESTARTING, why)


def _restart_message(status: FinetuneJobStatus, failure: Failure, *, wait: float) -> str:
    step = f"from step {status.checkpoint.step}" if status.checkpoint else "from the start"
    pause = f" after {wait:.0f} s" if wait else ""
    return f"attempt {status.attempt + 1} begins {step}{pause}, because {failure.message}"


def _with_last_words(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Keep what rank 0 said last, while it lived or at its end: progress, checkpoint, numbers, warnings."""
    report = current_report(status, situation)
    if report is not None and report.progress is not None:
        status = with_progress(status, report.progress)
    for pod in situation.observed.pods_of(Role.TRAIN, attempt=status.attempt):
        for container in pod.own_containers:
            if pod.index == 0 and container.termination is not None:
                status = with_result(status, container.termination.result)
    return status
