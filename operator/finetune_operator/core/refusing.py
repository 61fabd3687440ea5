"""Jobs whose manifest cannot even be read: written for another version of the operator, or past the schema."""

from datetime import datetime
from typing import Any

from finetune_api.problem import Problem
from finetune_api.status import ConditionType, FinetuneJobStatus
from finetune_api.types import FinetuneJob, FinetuneJobSpec, ObjectMeta, Storage
from finetune_operator.core.conditions import is_true
from finetune_operator.core.decision import Decision, Manifest, Situation
from finetune_operator.core.ending import fail
from finetune_operator.core.observed import Observed
from finetune_operator.core.phases import is_finished
from finetune_operator.core.platform import Platform
from finetune_operator.core.revisions import invalid_spec
from finetune_operator.core.transitions import find_transitions

NOTHING: dict[str, Any] = {"ttl_seconds_after_finished": None, "storage": Storage()}


def without_spec(manifest: Manifest) -> FinetuneJob:
    """Return the job with its metadata and status, and nothing in its spec that could be acted on."""
    spec = FinetuneJobSpec.model_construct(**NOTHING)
    return FinetuneJob.model_construct(
        metadata=ObjectMeta.model_validate(manifest["metadata"]),
        spec=spec,
        status=FinetuneJobStatus.model_validate(manifest.get("status") or {}),
    )


def refuse(job: FinetuneJob, problems: list[Problem], now: datetime, *, platform: Platform) -> Decision:
    """Return the decision that fails the job; one found good before is left to the operator that can read it."""
    status = job.status
    if is_finished(status) or is_true(status, ConditionType.VALIDATED):
        return Decision(status=status)
    situation = Situation(job=job, observed=Observed(), now=now, platform=platform)
    begun = status.model_copy(update={"observed_generation": job.metadata.generation})
    decision = fail(begun, situation, invalid_spec(problems), ConditionType.VALIDATED)
    return Decision(status=decision.status, events=find_transitions(status, decision.status))
