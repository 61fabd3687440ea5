"""The volume claim made for a job: how large it is, and whether it goes with the FinetuneJob.

It has an owner reference only while nothing is on it that is needed: work does not die with the object. The status
records what was asked of the claim last. A difference is asked for before anything else is done, so that whoever is
killed in between finds it again.
"""

from dataclasses import replace

from finetune_api.status import ConditionType, FinetuneJobStatus
from finetune_operator.core.children.volume_claim import build_claim_patch
from finetune_operator.core.conditions import is_true
from finetune_operator.core.decision import ClaimChange, Decision, Situation
from finetune_operator.core.observed import ClaimState
from finetune_operator.core.phases import is_finished
from finetune_operator.core.results import merge_warnings


def keep_claim(decision: Decision, situation: Situation) -> Decision:
    """Return the decision, or the change of the claim that has to come before it.

    The size is changed by itself: where volumes cannot grow, the API server refuses the whole change.
    """
    storage, answer = decision.status.storage, situation.observed.claim
    if storage is None or situation.job.spec.storage.existing_claim is not None:
        return decision
    end = _wanted(decision.status, situation)
    known = ClaimState(size=storage.size or end.size, goes_with_job=storage.goes_with_job is not False)
    if known == end:
        return decision
    wanted = end if known.size == end.size else replace(known, size=end.size)
    if answer is None or answer.state != wanted:
        return Decision(status=situation.job.status, change=_change(known, wanted, situation), requeue_after=0.0)
    noted = storage.model_copy(update={"size": wanted.size, "goes_with_job": wanted.goes_with_job})
    refused = f"volume claim {storage.claim} could not be changed: {answer.refusal}"
    warnings = merge_warnings(decision.status.warnings, [refused] if answer.refusal else [])
    status = decision.status.model_copy(update={"storage": noted, "warnings": warnings})
    return replace(decision, status=status)


def _wanted(status: FinetuneJobStatus, situation: Situation) -> ClaimState:
    """Return how the claim should be. Where no gang was ever made, it holds what can be fetched again."""
    storage = situation.job.spec.storage
    is_needless = is_true(status, ConditionType.PUBLISHED) or (is_finished(status) and not status.attempt)
    goes = is_needless and not situation.observed.is_claim_shared
    return ClaimState(
        size=storage.size,
        goes_with_job=storage.retain == "WithJob" or (storage.retain == "UntilPublished" and goes),
    )


def _change(known: ClaimState, wanted: ClaimState, situation: Situation) -> ClaimChange:
    size = wanted.size if wanted.size != known.size else None
    patch = build_claim_patch(situation.job, size=size, goes_with_job=wanted.goes_with_job)
    return ClaimChange(state=wanted, patch=patch)
