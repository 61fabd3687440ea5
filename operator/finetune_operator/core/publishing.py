"""From a trained model to its end: published, kept, or refused by the gate."""

from dataclasses import replace

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_api.types import Publish
from finetune_operator.core import names
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.publish_job import build_publish_job
from finetune_operator.core.cleaning import replace_jobs
from finetune_operator.core.conditions import ConditionValue, Finding, find_condition
from finetune_operator.core.decision import Decision, Manifest, Situation
from finetune_operator.core.ending import succeed
from finetune_operator.core.evidence import results
from finetune_operator.core.hub_jobs import GOING_AWAY_SECONDS, HubJob, follow, start
from finetune_operator.core.observed import JobView
from finetune_operator.core.phases import enter, suspended, update_conditions

UNREAD = (
    "the publish Job completed, and its pod was gone before it could be read; it runs once more, which finds its own "
    "commit and makes no second one"
)
ON_THE_HUB = (Reason.PUBLISHED, Reason.ALREADY_PUBLISHED)


def publish(status: FinetuneJobStatus, situation: Situation) -> Decision:
    """Return what to do once training is done."""
    target = situation.job.spec.publish
    if target is None:
        where = f"train/model of volume claim {names.workspace(situation.job)}"
        message = f"the model is in {where}, below status.storage.folder if that names one; no spec.publish was given"
        status = update_conditions(status, situation, Finding(ConditionType.PUBLISHED, "False", Reason.COMPLETED))
        return succeed(status, situation, Reason.COMPLETED, message)
    job = situation.observed.job(Role.PUBLISH)
    hub_job = _publish_job(target)
    if job is not None and not job.is_deleting:
        step = follow(hub_job, _announced(status, situation, hub_job), situation, job)
        return step if isinstance(step, Decision) else _published(step, situation, job)
    if situation.job.spec.suspend:
        return Decision(status=suspended(status, situation))
    decision = start(hub_job, _announced(status, situation, hub_job), situation, old=job)
    return replace(decision, apply=_children(situation, target)) if job is None else decision


def _publish_job(target: Publish) -> HubJob:
    return HubJob(
        phase=Phase.PUBLISHING,
        reason=Reason.PUBLISHING,
        message=f"the model goes to {target.place}",
        aspect=ConditionType.PUBLISHED,
    )


def _announced(status: FinetuneJobStatus, situation: Situation, hub_job: HubJob) -> FinetuneJobStatus:
    if _is_repeated(status):
        return status
    finding = Finding(ConditionType.PUBLISHED, "Unknown", hub_job.reason, hub_job.message)
    return update_conditions(status, situation, finding)


def _children(situation: Situation, target: Publish) -> tuple[Manifest, ...]:
    job, platform = situation.job, situation.platform
    return (build_config_map(job, platform=platform), build_publish_job(job, target, platform=platform))


def _published(status: FinetuneJobStatus, situation: Situation, job: JobView) -> Decision:
    found = results(situation.observed.pods_of(job.role))
    last = found[-1] if found else None
    if last is None and not _is_repeated(status):
        status = enter(status, situation, Phase.PUBLISHING, Reason.RESTARTING, UNREAD)
        unread = Finding(ConditionType.PUBLISHED, "Unknown", Reason.RESTARTING, UNREAD)
        status = update_conditions(status, situation, unread)
        return Decision(status=status, delete=replace_jobs([job], situation.job), requeue_after=GOING_AWAY_SECONDS)
    reason = last.reason if last is not None else Reason.COMPLETED
    message = last.message if last is not None else "the publish Job completed twice; what it said was lost"
    is_published: ConditionValue = "Unknown" if last is None else "True" if reason in ON_THE_HUB else "False"
    status = update_conditions(status, situation, Finding(ConditionType.PUBLISHED, is_published, reason, message))
    return succeed(status, situation, reason, message)


def _is_repeated(status: FinetuneJobStatus) -> bool:
    """Tell whether publishing was done before and nobody could read what it said. That happens once, not for ever."""
    published = find_condition(status, ConditionType.PUBLISHED)
    return published is not None and published.reason == Reason.RESTARTING
