"""What is told of a gang that waits or runs."""

from finetune_api.contract import Role
from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.children.pod_template import chosen
from finetune_operator.core.children.train_job import grace_seconds
from finetune_operator.core.conditions import Finding, find_condition
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.ending import fail
from finetune_operator.core.gang import Gang
from finetune_operator.core.observed import ProgressReport
from finetune_operator.core.phases import enter, update_conditions
from finetune_operator.core.results import merge_warnings, with_progress
from finetune_operator.core.returning import describe_return, seconds_to_return
from finetune_operator.core.revisions import describe_change
from finetune_operator.core.shortage import describe_queue
from finetune_operator.core.times import soonest
from finetune_operator.core.verdict import current_report
from finetune_operator.core.waiting import find_complaint, find_hopeless, seconds_to_next_look


def show_running(status: FinetuneJobStatus, situation: Situation, gang: Gang) -> Decision:
    """Return what is told of a gang all of whose ranks run."""
    resources = situation.job.spec.resources
    of_all = f" of {resources.nodes}" if gang.num_nodes < resources.nodes else ""
    nodes = f"{gang.num_nodes}{of_all} node{'s' if resources.nodes > 1 else ''}"
    message = f"attempt {status.attempt} trains on {nodes}"
    message += describe_change(gang.job, situation.job)
    is_new = status.phase != Phase.TRAINING
    world_size = gang.num_nodes * resources.processes_per_node
    status = status.model_copy(update={"gang_returns": None, "world_size": world_size})
    status = enter(status, situation, Phase.TRAINING, Reason.TRAINING, message)
    status = update_conditions(
        status,
        situation,
        Finding(ConditionType.SCHEDULED, "True", Reason.TRAINING),
        Finding(ConditionType.TRAINING, "True", Reason.TRAINING, message),
    )
    report = current_report(status, situation)
    if report is not None:
        status = update_conditions(status, situation, *_hearing(report))
        if report.progress is not None and (is_new or situation.observed.is_progress_due):
            status = _with_grace(with_progress(status, report.progress), situation)
    return Decision(status=status)


def _with_grace(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Return the status with a warning where a checkpoint takes longer than ranks are given to end."""
    field = "termination_grace_period_seconds"
    given = chosen(situation.job, Role.TRAIN, field, platform=situation.platform) or grace_seconds(situation.job)
    took = status.checkpoint.save_seconds if status.checkpoint is not None else None
    if took is None or took < given:
        return status
    warning = (
        f"a checkpoint takes longer to save than the {given} s that ranks are given to end: a gang that is preempted "
        "loses its work since the last one; raise spec.podTemplate.train.terminationGracePeriodSeconds to twice "
        "status.checkpoint.saveSeconds, or lower spec.checkpoint.everyMinutes"
    )
    return status.model_copy(update={"warnings": merge_warnings(status.warnings, [warning])})


def _hearing(report: ProgressReport) -> list[Finding]:
    """Return whether progress is known; nothing while that is not clear yet."""
    if report.silence:
        message = f"rank 0 gives no answer: {report.silence}. {GUIDANCE[Reason.NO_ANSWER].next_step}"
        return [Finding(ConditionType.PROGRESS_KNOWN, "False", Reason.NO_ANSWER, message)]
    if report.num_unanswered or report.progress is None:
        return []
    return [Finding(ConditionType.PROGRESS_KNOWN, "True", Reason.TRAINING)]


def show_waiting(status: FinetuneJobStatus, situation: Situation, gang: Gang) -> Decision:
    """Return what is told of a gang that does not run yet, and the end of a job whose pods will never start."""
    observed, now = situation.observed, situation.now
    if hopeless := find_hopeless(observed, gang.pods, now):
        return fail(status, situation, hopeless, ConditionType.TRAINING)
    wait: float | None = None
    if gang.is_queued:
        status = queued(status, situation, Reason.QUEUED, describe_queue(observed, gang.job))
    elif complaint := find_complaint(observed, gang.job, gang.pods, now):
        status = queued(status, situation, complaint.reason, complaint.message)
    elif _is_waited_for(status) and not observed.is_progress_due:
        wait = observed.seconds_to_progress  # most gangs run by then; pods are not told of one by one
    else:
        text = f"{gang.num_running} of {gang.num_nodes} pods run"
        status = queued(status, situation, Reason.WAITING_FOR_GANG, text)
    look_again = seconds_to_next_look(observed, gang.job, gang.pods, now)
    return Decision(status=status, requeue_after=soonest(look_again, wait, seconds_to_return(gang, status, situation)))


def _is_waited_for(status: FinetuneJobStatus) -> bool:
    """Tell whether the status says that pods are being made or start, and of nothing that keeps them from it."""
    scheduled = find_condition(status, ConditionType.SCHEDULED)
    return scheduled is not None and scheduled.reason == Reason.WAITING_FOR_GANG


def waiting_its_turn(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Return the status of a job whose gang was given back; it tells why, and who goes first."""
    returns, ahead = status.gang_returns, situation.observed.gang_ahead
    if not ahead or returns is None:
        return status
    again = describe_return(returns, situation.job.spec.resources)
    text = f"the gang of FinetuneJob {ahead} is made first: it was given back no more often. {again}"
    return queued(status, situation, Reason.GANG_RETURNED, text)


def queued(status: FinetuneJobStatus, situation: Situation, reason: Reason, message: str) -> FinetuneJobStatus:
    """Return the status of a gang that waits, for that reason."""
    status = enter(status, situation, Phase.QUEUED, reason, message)
    findings = [Finding(ConditionType.SCHEDULED, "False", reason, message)]
    if not _tells_last_failure(status):
        findings.append(Finding(ConditionType.TRAINING, "False", reason))
    return update_conditions(status, situation, *findings)


def _tells_last_failure(status: FinetuneJobStatus) -> bool:
    """Tell whether the condition Training says why the gang before was lost; that is kept until the next one runs."""
    training = find_condition(status, ConditionType.TRAINING)
    return training is not None and GUIDANCE[Reason(training.reason)].fault != Fault.NOBODY
