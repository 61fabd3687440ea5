"""From validated inputs to a trained model: one gang after another until one reaches the end.

`status.attempt` is the gang that may live. Raising it is how a gang is given up: the raise, the charge to a budget and
the reason go into the status in one write, and only then are older gangs removed. Nothing else has to be remembered.
"""

from finetune_api.contract import Role
from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_operator.core.backoff import seconds_to_restart
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.service import build_service
from finetune_operator.core.children.train_job import build_train_job
from finetune_operator.core.cleaning import delete_orphans, force_stuck, job_deletion
from finetune_operator.core.conditions import Finding, find_condition, is_true
from finetune_operator.core.decision import Decision, Manifest, Situation
from finetune_operator.core.ending import fail
from finetune_operator.core.evidence import EVIDENCE_SECONDS
from finetune_operator.core.failures import Failure, charge, is_affordable
from finetune_operator.core.gang import Gang, train_jobs, train_pods
from finetune_operator.core.logs import with_log
from finetune_operator.core.observed import ProgressReport
from finetune_operator.core.phases import enter, suspended, update_conditions
from finetune_operator.core.results import with_progress, with_result, with_training_done
from finetune_operator.core.times import seconds_since, soonest
from finetune_operator.core.waiting import find_complaint, find_hopeless, find_obstacle, seconds_to_next_look

#: What rank 0 told of the time before this operator asked is believed after so many seconds of answers without a step.
CONFIRM_SECONDS = 120.0


def is_trained(status: FinetuneJobStatus) -> bool:
    """Tell whether a gang reached the end."""
    training = find_condition(status, ConditionType.TRAINING)
    return training is not None and training.reason == Reason.TRAINED


def train(status: FinetuneJobStatus, situation: Situation) -> Decision | FinetuneJobStatus:
    """Return what to do until a gang reaches the end, or the status with which to go on once one has."""
    newest = max((job.attempt for job in train_jobs(situation.observed)), default=0)
    status = status.model_copy(update={"attempt": max(status.attempt, newest)})
    job = situation.observed.job(Role.TRAIN, attempt=status.attempt) if status.attempt else None
    if job is None:
        return _without_gang(status, situation)
    pods = situation.observed.pods_of(Role.TRAIN, attempt=status.attempt)
    gang = Gang(job=job, pods=pods, num_nodes=situation.job.spec.resources.nodes)
    if gang.has_succeeded:
        return _trained(status, situation, gang)
    if situation.job.spec.suspend:
        return _retire(_next_attempt(status), situation)
    return _with_gang(status, situation, gang)


def _without_gang(status: FinetuneJobStatus, situation: Situation) -> Decision:
    if situation.job.spec.suspend:
        return _retire(status, situation)
    if is_true(status, ConditionType.TRAINING):
        message = f"the Job of attempt {status.attempt} was deleted. {GUIDANCE[Reason.RANK_KILLED].next_step}"
        return _restart(status, situation, Failure(reason=Reason.RANK_KILLED, message=message))
    if train_jobs(situation.observed) or train_pods(situation.observed):
        return _retire(status, situation)
    if wait := seconds_to_restart(status.restarts, situation.now):
        text = f"attempt {status.attempt} waits, because gangs before it were lost one after another"
        return Decision(status=_restarting(status, situation, text), requeue_after=soonest(wait))
    status = status.model_copy(update={"attempt": max(1, status.attempt)})
    if obstacle := find_obstacle(situation.observed):
        status = _queued(status, situation, obstacle.reason, obstacle.message)
    else:
        status = _queued(status, situation, Reason.WAITING_FOR_GANG, "the training pods are being made")
    return Decision(status=status, apply=_children(situation, status.attempt))


def _children(situation: Situation, attempt: int) -> tuple[Manifest, ...]:
    job, platform = situation.job, situation.platform
    gang = build_train_job(job, attempt=attempt, platform=platform)
    return (build_config_map(job, platform=platform), build_service(job), gang)


def _with_gang(status: FinetuneJobStatus, situation: Situation, gang: Gang) -> Decision:
    failure = gang.failure() or _stalled(status, situation)
    if gang.job.is_deleting and failure is None and not gang.is_queued:
        failure = Failure(reason=Reason.RANK_KILLED, message=f"Job {gang.job.name} was deleted")
    if failure is not None:
        wait = gang.seconds_to_settle(failure, situation.now)
        if wait > 0:
            return Decision(status=status, requeue_after=soonest(wait))
        return _restart(status, situation, failure)
    stale = _stale(situation, status.attempt)
    if stale.delete:
        return Decision(status=status, delete=stale.delete, requeue_after=stale.requeue_after)
    if gang.is_running and not gang.is_queued:
        return _running(status, situation, gang)
    return _waiting(status, situation, gang)


def _restart(status: FinetuneJobStatus, situation: Situation, failure: Failure) -> Decision:
    """Give the gang up: charge the budget, or end the job when nothing pays for another attempt."""
    status = _with_last_words(status, situation)
    failure = with_log(failure, situation.job, role=Role.TRAIN, attempt=status.attempt)
    if not failure.is_retried:
        return fail(status, situation, failure, ConditionType.TRAINING)
    if not is_affordable(failure, spent=status.restarts, retry=situation.job.spec.retry):
        text = f"spec.retry.{failure.budget} is used up; the last cause was: {failure.message}"
        last = Failure(reason=failure.reason, message=text)
        return fail(status, situation, last, ConditionType.TRAINING)
    status = status.model_copy(update={"restarts": charge(failure, status.restarts, now=situation.now)})
    message = _restart_message(status, failure, wait=seconds_to_restart(status.restarts, situation.now))
    status = enter(status, situation, Phase.RESTARTING, failure.reason, message)
    training = Finding(ConditionType.TRAINING, "False", failure.reason, failure.message)
    return _retire(_next_attempt(update_conditions(status, situation, training)), situation)


def _restart_message(status: FinetuneJobStatus, failure: Failure, *, wait: float) -> str:
    step = f"from step {status.checkpoint.step}" if status.checkpoint else "from the start"
    pause = f" after {wait:.0f} s" if wait else ""
    return f"attempt {status.attempt + 1} begins {step}{pause}, because {failure.message}"


def _with_last_words(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Keep what rank 0 said at its end, be it well or not: checkpoint, numbers, warnings."""
    for pod in situation.observed.pods_of(Role.TRAIN, attempt=status.attempt):
        for container in pod.containers:
            if pod.index == 0 and container.termination is not None:
                status = with_result(status, container.termination.result)
    return status


def _next_attempt(status: FinetuneJobStatus) -> FinetuneJobStatus:
    return status.model_copy(update={"attempt": status.attempt + 1})


def _retire(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Remove every gang older than status.attempt, and wait until their last pod is gone."""
    if situation.job.spec.suspend:
        status = suspended(status, situation)
        status = update_conditions(
            status,
            situation,
            Finding(ConditionType.TRAINING, "False", Reason.SUSPENDED),
            Finding(ConditionType.SCHEDULED, "False", Reason.SUSPENDED),
        )
    else:
        status = _restarting(status, situation, "the pods of the attempt before are still going away")
    stale = _stale(situation, status.attempt)
    return Decision(status=status, delete=stale.delete, requeue_after=stale.requeue_after)


def _restarting(status: FinetuneJobStatus, situation: Situation, why: str) -> FinetuneJobStatus:
    """Return the status between two gangs; it keeps the cause of the restart if it tells one."""
    if status.phase == Phase.RESTARTING:
        return status
    return enter(status, situation, Phase.RESTARTING, Reason.RESTARTING, why)


def _stale(situation: Situation, attempt: int) -> Decision:
    observed = situation.observed
    jobs = [job for job in train_jobs(observed) if job.attempt < attempt and not job.is_deleting]
    pods = [pod for pod in train_pods(observed) if pod.attempt < attempt]
    forced, wait = force_stuck(pods, situation.now)
    delete = (*[job_deletion(job) for job in jobs], *delete_orphans(observed, pods), *forced)
    return Decision(status=situation.job.status, delete=delete, requeue_after=wait)


def _stalled(status: FinetuneJobStatus, situation: Situation) -> Failure | None:
    """Return the failure of a gang whose rank 0 answers and makes no step. One that does not answer is left alone."""
    report, limit = _report(status, situation), situation.job.spec.stall_timeout_seconds
    if status.phase != Phase.TRAINING or report is None or report.still_seconds < limit:
        return None
    if report.seen_still_seconds < min(limit, CONFIRM_SECONDS):
        return None
    message = f"rank 0 answers, but has shown no new step for {report.still_seconds:.0f} s. "
    next_step = GUIDANCE[Reason.PROGRESS_STALLED].next_step
    return Failure(reason=Reason.PROGRESS_STALLED, message=message + next_step, node_rank=0)


def _report(status: FinetuneJobStatus, situation: Situation) -> ProgressReport | None:
    report = situation.observed.progress
    return report if report is not None and report.attempt == status.attempt else None


def _running(status: FinetuneJobStatus, situation: Situation, gang: Gang) -> Decision:
    message = f"attempt {status.attempt} trains on {gang.num_nodes} node{'s' if gang.num_nodes > 1 else ''}"
    is_new = status.phase != Phase.TRAINING
    status = enter(status, situation, Phase.TRAINING, Reason.TRAINING, message)
    status = update_conditions(
        status,
        situation,
        Finding(ConditionType.SCHEDULED, "True", Reason.TRAINING),
        Finding(ConditionType.TRAINING, "True", Reason.TRAINING, message),
    )
    report = _report(status, situation)
    if report is not None:
        status = update_conditions(status, situation, *_hearing(report))
        if report.progress is not None and (is_new or _is_due(situation)):
            status = with_progress(status, report.progress)
    return Decision(status=status)


def _hearing(report: ProgressReport) -> list[Finding]:
    """Return whether progress is known; nothing while that is not clear yet."""
    if report.silence:
        message = f"rank 0 gives no answer: {report.silence}. {GUIDANCE[Reason.NO_ANSWER].next_step}"
        return [Finding(ConditionType.PROGRESS_KNOWN, "False", Reason.NO_ANSWER, message)]
    if report.num_unanswered or report.progress is None:
        return []
    return [Finding(ConditionType.PROGRESS_KNOWN, "True", Reason.TRAINING)]


def _is_due(situation: Situation) -> bool:
    written_at = situation.observed.progress_written_at
    return written_at is None or seconds_since(written_at, situation.now) >= situation.platform.progress_status_seconds


def _waiting(status: FinetuneJobStatus, situation: Situation, gang: Gang) -> Decision:
    observed, now = situation.observed, situation.now
    if hopeless := find_hopeless(observed, gang.pods, now):
        return fail(status, situation, hopeless, ConditionType.TRAINING)
    if gang.is_queued:
        status = _queued(status, situation, Reason.QUEUED, "the queue has not admitted the training Job yet")
    elif complaint := find_complaint(observed, gang.job, gang.pods, now):
        status = _queued(status, situation, complaint.reason, complaint.message)
    else:
        text = f"{gang.num_running} of {gang.num_nodes} pods run"
        status = _queued(status, situation, Reason.WAITING_FOR_GANG, text)
    return Decision(status=status, requeue_after=seconds_to_next_look(observed, gang.job, gang.pods, now))


def _queued(status: FinetuneJobStatus, situation: Situation, reason: Reason, message: str) -> FinetuneJobStatus:
    status = enter(status, situation, Phase.QUEUED, reason, message)
    findings = [Finding(ConditionType.SCHEDULED, "False", reason, message)]
    if not _tells_last_failure(status):
        findings.append(Finding(ConditionType.TRAINING, "False", reason))
    return update_conditions(status, situation, *findings)


def _tells_last_failure(status: FinetuneJobStatus) -> bool:
    """Tell whether the condition Training says why the gang before was lost; that is kept until the next one runs."""
    training = find_condition(status, ConditionType.TRAINING)
    return training is not None and GUIDANCE[Reason(training.reason)].fault != Fault.NOBODY


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
