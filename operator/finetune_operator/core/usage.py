"""What a job's gangs have held of accelerators, and what came of it. Goes into a status that is written anyway.

Counted in windows, each from the status before to the one after: nothing is counted twice whoever writes them, and
nothing has to be remembered. What pods hold after the operator has given their gang up counts as far as it is seen.
"""

from datetime import datetime

from finetune_api.contract import Role, Work
from finetune_api.status import FinetuneJobStatus, Phase, UsageStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Situation
from finetune_operator.core.gang import final_result, gather, train_pods
from finetune_operator.core.observed import Observed, PodView
from finetune_operator.core.times import format_time, parse_time

#: Phases after a gang has reached the end, with all that it made in the model.
TRAINED = (Phase.PUBLISHING, Phase.SUCCEEDED)


def with_usage(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Return a status that is to be written with what gangs have held until now; without any it has none."""
    job, observed = situation.job, situation.observed
    usage, work = job.status.usage, None if job.status.phase in (*TRAINED, Phase.FAILED) else newest_work(job, observed)
    if usage is None and work is None and not any(pod.scheduled_at for pod in train_pods(observed)):
        return status
    resources = job.spec.resources
    of = "Accelerators" if resources.accelerator.per_node else "Processes"
    usage = usage or UsageStatus(of=of, time=format_time(situation.now))
    usage = _with_time_held(usage, situation, is_new=job.status.usage is None)
    if work is not None:
        usage = _with_work(usage, work)
    if status.phase in TRAINED:
        usage = _kept(usage, work)
    elif status.phase != Phase.TRAINING:
        usage = _interrupted(usage)
    may_save = status.phase not in TRAINED and any(pod.phase == "Running" for pod in train_pods(observed))
    if status.phase in (*TRAINED, Phase.FAILED) and not may_save:
        usage = _settled(usage)
    trains_on = status.phase == job.status.phase == Phase.TRAINING
    return status.model_copy(update={"usage": _with_the_rest(usage, trains_on=trains_on)})


def newest_work(job: FinetuneJob, observed: Observed) -> Work | None:
    """Return what rank 0 of the newest gang said last of its time: at its end, or when it was asked.

    Of one whose pods a queue has taken, and may give back, it has told all in the look that sees that.
    """
    attempt, report = job.status.attempt, observed.progress
    child = observed.job(Role.TRAIN, attempt=attempt)
    if child is None or (child.is_held and job.status.phase != Phase.TRAINING):
        return None
    leaders = [pod for pod in gather(child, observed.pods_of(Role.TRAIN, attempt=attempt)).pods if pod.index == 0]
    ends = [result.work for pod in leaders if (result := final_result(pod)) is not None]
    if ends:
        return ends[-1]
    if job.status.phase != Phase.TRAINING or report is None or report.attempt != attempt or report.progress is None:
        return None  # nobody is asked then: what is there was told before, and has been counted
    return report.progress.work


def _with_time_held(usage: UsageStatus, situation: Situation, *, is_new: bool) -> UsageStatus:
    """Return the usage with the window since it was counted last; the first one has no beginning."""
    until = parse_time(format_time(situation.now))
    since = None if is_new else parse_time(usage.time)
    assert until is not None
    seconds = sum(_seconds_held(pod, since, until) for pod in train_pods(situation.observed))
    held = usage.held_seconds + round(seconds) * situation.job.spec.resources.processes_per_node
    return usage.model_copy(update={"held_seconds": held, "time": format_time(until)})


def _seconds_held(pod: PodView, since: datetime | None, until: datetime) -> float:
    """Return how long a pod had its node within a window; of one that ended nobody knows when, nothing."""
    if pod.scheduled_at is None:
        return 0.0
    ends = [one.termination.finished_at for one in pod.own_containers if one.termination is not None]
    end = max((time for time in ends if time is not None), default=None) if pod.is_terminal else until
    if end is None:
        return 0.0
    begin = pod.scheduled_at if since is None else max(pod.scheduled_at, since)
    return max(0.0, (min(end, until) - begin).total_seconds())


def _with_work(usage: UsageStatus, work: Work) -> UsageStatus:
    """Return the usage with what rank 0 says; a gang that has found out where it goes on settles the one before."""
    lost, interrupted = usage.lost_seconds, usage.interrupted_seconds
    if work.resumed_seconds is not None:
        saved = max(0, work.resumed_seconds - usage.useful_seconds - usage.evaluating_seconds)
        lost, interrupted = lost + max(0, interrupted - saved), 0
    return usage.model_copy(
        update={
            "useful_seconds": max(usage.useful_seconds, work.useful_seconds),
            "evaluating_seconds": max(usage.evaluating_seconds, work.evaluating_seconds),
            "unsaved_seconds": work.unsaved_seconds,
            "lost_seconds": lost,
            "interrupted_seconds": interrupted,
        }
    )


def _kept(usage: UsageStatus, work: Work | None) -> UsageStatus:
    """Return the usage of a gang that reached the end; rank 0 has said so, unless its last words were lost.

    One that reached it without a step has found the model of the gang before, which has all that this one made.
    """
    found = usage.interrupted_seconds if work is not None and work.resumed_seconds is None else 0
    return usage.model_copy(
        update={
            "useful_seconds": usage.useful_seconds + usage.unsaved_seconds + found,
            "unsaved_seconds": 0,
            "interrupted_seconds": usage.interrupted_seconds - found,
        }
    )


def _interrupted(usage: UsageStatus) -> UsageStatus:
    """Return the usage with what the gang has not saved as far as anybody knows; it may be about to."""
    interrupted = usage.interrupted_seconds + usage.unsaved_seconds
    return usage.model_copy(update={"unsaved_seconds": 0, "interrupted_seconds": interrupted})


def _settled(usage: UsageStatus) -> UsageStatus:
    """Return the usage once no gang will tell any more."""
    lost = usage.lost_seconds + usage.interrupted_seconds
    return usage.model_copy(update={"lost_seconds": lost, "interrupted_seconds": 0})


def _with_the_rest(usage: UsageStatus, *, trains_on: bool) -> UsageStatus:
    """Return the usage with all else that was held as time of waiting; of a gang that trains it is not known yet."""
    made = usage.useful_seconds + usage.evaluating_seconds + usage.lost_seconds
    made += usage.unsaved_seconds + usage.interrupted_seconds
    waiting = usage.waiting_seconds if trains_on else max(usage.waiting_seconds, usage.held_seconds - made)
    held = max(usage.held_seconds, made + waiting)  # ranks that save after their gang was given up are not seen
    return usage.model_copy(update={"held_seconds": held, "waiting_seconds": waiting})
