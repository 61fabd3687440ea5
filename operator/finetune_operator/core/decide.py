"""The one decision: what should be done about a FinetuneJob now.

Pure and level-based: it looks at the whole situation each time, never at what has changed, so that lost, repeated or
reordered events and a crash at any point lead to the same end.
"""

from dataclasses import replace
from datetime import datetime

from finetune_api.problems import check_spec
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.claims import keep_claim
from finetune_operator.core.cleaning import release
from finetune_operator.core.conditions import is_true
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.ending import fail
from finetune_operator.core.failures import Failure
from finetune_operator.core.live import with_live_telling
from finetune_operator.core.observed import Observed
from finetune_operator.core.phases import begin, is_finished
from finetune_operator.core.platform import Platform
from finetune_operator.core.preparing import is_prepared, prepare
from finetune_operator.core.publishing import publish
from finetune_operator.core.rerunning import begin_again, clear_away, is_rerun_wanted
from finetune_operator.core.revisions import invalid_spec
from finetune_operator.core.tracking import track
from finetune_operator.core.training import is_trained, train
from finetune_operator.core.transitions import find_transitions
from finetune_operator.core.usage import with_usage


def decide(job: FinetuneJob, observed: Observed, now: datetime, *, platform: Platform) -> Decision:
    """Return what to do now. Equal arguments give equal decisions; acting on one twice does no harm."""
    situation = Situation(job=job, observed=observed, now=now, platform=platform)
    decision = keep_claim(with_live_telling(_decide(situation), situation), situation)
    if decision.status != job.status:
        decision = replace(decision, status=with_usage(decision.status, situation))
    delete = tuple(dict.fromkeys((*decision.delete, *release(observed))))
    return replace(decision, delete=delete, events=find_transitions(job.status, decision.status))


def _decide(situation: Situation) -> Decision:
    if is_rerun_wanted(situation.job):
        if left := clear_away(situation):
            return left
        situation = begin_again(situation)
    elif is_finished(situation.job.status):
        return track(_seen(situation), situation)
    status = begin(situation)
    if failure := _refusal(status, situation):
        return fail(status, situation, failure, ConditionType.VALIDATED)
    return _next_step(status, situation)


def _next_step(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Walk the stages; each returns a decision while it is under way, and the status to go on with once it is done."""
    if not is_prepared(status, situation):
        step = prepare(status, situation)
        if isinstance(step, Decision):
            return step
        status = step
        # What prepare has found out about the image counts for the gang that is made in this very look.
        situation = replace(situation, job=situation.job.model_copy(update={"status": status}))
    if not is_trained(status):
        step = train(status, situation)
        if isinstance(step, Decision):
            return step
        status = step
    return publish(status, situation)


def _seen(situation: Situation) -> FinetuneJobStatus:
    generation = situation.job.metadata.generation
    return situation.job.status.model_copy(update={"observed_generation": generation})


def _refusal(status: FinetuneJobStatus, situation: Situation) -> Failure | None:
    """Return what is wrong with the spec; a job that has once been found good is left to run."""
    if situation.observed.rejection:
        text = f"the API server refused a child of the job: {situation.observed.rejection}"
        return Failure(reason=Reason.INVALID_SPEC, message=f"{text}. {GUIDANCE[Reason.INVALID_SPEC].next_step}")
    if is_true(status, ConditionType.VALIDATED):
        return None
    problems = check_spec(situation.job.spec)
    return invalid_spec(problems) if problems else None
