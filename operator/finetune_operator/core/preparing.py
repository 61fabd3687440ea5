"""From the start to validated inputs: one Job that fetches and checks everything before an accelerator is asked for."""

from dataclasses import replace

from finetune_api.contract import Role
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_api.telling import in_words
from finetune_operator.core import names
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.prepare_job import build_prepare_job
from finetune_operator.core.children.volume_claim import build_volume_claim
from finetune_operator.core.cleaning import delete_jobs
from finetune_operator.core.conditions import Finding, is_true
from finetune_operator.core.decision import Decision, Manifest, Situation
from finetune_operator.core.ending import fail, succeed
from finetune_operator.core.evidence import results
from finetune_operator.core.failures import Failure
from finetune_operator.core.gang import train_jobs
from finetune_operator.core.hub_jobs import HubJob, follow, start
from finetune_operator.core.observed import JobView
from finetune_operator.core.phases import enter, suspended, update_conditions
from finetune_operator.core.pinning import with_digest
from finetune_operator.core.rehearsing import rehearsal
from finetune_operator.core.results import merge_warnings
from finetune_operator.core.revisions import is_outdated
from finetune_operator.core.sharing import Claimant

HELD_SECONDS = 15.0
PREPARE = HubJob(
    phase=Phase.PREPARING,
    reason=Reason.PREPARING,
    message="model and data are fetched and checked before an accelerator is asked for",
    aspect=ConditionType.VALIDATED,
)


def is_prepared(status: FinetuneJobStatus, situation: Situation) -> bool:
    """Tell whether inputs are known to be good: from status, or, should that be lost, from what was built on them."""
    return is_true(status, ConditionType.VALIDATED) or any(
        not job.is_deleting for job in train_jobs(situation.observed)
    )


def prepare(status: FinetuneJobStatus, situation: Situation) -> Decision | FinetuneJobStatus:
    """Return what to do until inputs are validated, or the status with which to go on once they are."""
    job = situation.observed.job(Role.PREPARE)
    if job is None or job.is_deleting:
        return _start(status, situation, job)
    step = follow(PREPARE, status, situation, job)
    if not isinstance(step, Decision):
        return _done(step, situation, job)
    if situation.job.spec.suspend and step.status.phase in (Phase.PREPARING, Phase.QUEUED):
        return replace(step, status=suspended(step.status, situation))
    return replace(step, status=_with_progress(step.status, situation))


def _with_progress(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Return the status with what prepare says of itself, where that may be written now.

    What a pod has said goes with it. One that says nothing is left alone: how it ends tells all that is needed.
    """
    observed = situation.observed
    pods = [pod.uid for pod in observed.pods_of(Role.PREPARE) if pod.phase in ("Running", "Succeeded")]
    if status.phase != Phase.PREPARING or not pods:
        return status.model_copy(update={"progress": None})
    report = observed.progress
    if report is None or report.progress is None or report.pod_uid not in pods or not observed.is_progress_due:
        return status
    return status.model_copy(update={"progress": in_words(report.progress.progress)})


def _done(status: FinetuneJobStatus, situation: Situation, job: JobView) -> Decision | FinetuneJobStatus:
    """Return the end of a run that is on the Hub already, or the status with which to go on."""
    pods = situation.observed.pods_of(job.role)
    if not any(pod.is_terminal for pod in pods):  # whether there is anything to train on only its words say
        again = "what prepare found was lost with its pod, so it looks once more"
        status = enter(status, situation, Phase.PREPARING, Reason.PREPARING, again)
        return Decision(status=status, delete=delete_jobs([job]))
    found = results(pods)
    if done := next((result for result in found if result.reason == Reason.ALREADY_PUBLISHED), None):
        told = [
            Finding(one, "True", done.reason, done.message)
            for one in (ConditionType.VALIDATED, ConditionType.PUBLISHED)
        ]
        told += [Finding(one, "False", done.reason) for one in (ConditionType.SCHEDULED, ConditionType.TRAINING)]
        return succeed(update_conditions(status, situation, *told), situation, done.reason, done.message)
    if not is_outdated(job, situation.job):
        status = with_digest(status, pods)
    told = [Finding(ConditionType.VALIDATED, "True", Reason.VALIDATED, "model and data are here and fit the spec")]
    if any(result.is_trained for result in found):
        message = "an earlier run reached the end; its model is on the volume"
        told.append(Finding(ConditionType.TRAINING, "False", Reason.TRAINED, message))
    return update_conditions(status, situation, *told)


def _start(status: FinetuneJobStatus, situation: Situation, old: JobView | None) -> Decision:
    if situation.job.spec.suspend:
        return Decision(status=suspended(status, situation))
    if holder := situation.observed.workspace_holder:
        return Decision(status=_waiting_for(holder, status, situation), requeue_after=HELD_SECONDS)
    if failure := _claim_of_one_node(situation):
        return fail(status, situation, failure, ConditionType.VALIDATED)
    decision = start(PREPARE, _warned(status, situation), situation, old=old)
    if old is not None:
        return decision
    return replace(decision, rehearse=rehearsal(situation), apply=_children(situation))


def _claim_of_one_node(situation: Situation) -> Failure | None:
    """Return why a gang could never run whole: one of its nodes would have the volume, and the others would wait."""
    modes, spec = situation.observed.claim_modes, situation.job.spec
    if spec.resources.nodes == 1 or not modes or "ReadWriteMany" in modes:
        return None
    text = (
        f"spec.storage.existingClaim: '{spec.storage.existing_claim}' is wrong because its access mode is "
        f"{', '.join(dict.fromkeys(modes))}, and {spec.resources.nodes} nodes are to write to it"
    )
    return Failure(reason=Reason.VOLUME_NOT_SHARED, message=f"{text}. {GUIDANCE[Reason.VOLUME_NOT_SHARED].next_step}")


def _warned(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Return the status with what its owner should know before anything is spent."""
    if not situation.observed.rival:
        return status
    text = (
        f"{situation.observed.rival}: of two models on one branch the later one replaces the other; give one of the "
        "jobs a repository or a branch of its own"
    )
    return status.model_copy(update={"warnings": merge_warnings(status.warnings, [text])})


def _waiting_for(holder: Claimant, status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Return the status of a job whose folder is another one's for now; two would destroy each other's work."""
    job = situation.job
    name = f"FinetuneJob {holder.name}"
    verdict = f"is used by {name}" if holder.is_at_work else f"goes first to {name}, which is ahead of this one"
    message = (
        f"folder {names.folder(job) or names.WHOLE_CLAIM} of volume claim {names.workspace(job)} {verdict}; this job "
        f"begins when that one has ended. {GUIDANCE[Reason.WORKSPACE_IN_USE].next_step}"
    )
    return enter(status, situation, Phase.PENDING, Reason.WORKSPACE_IN_USE, message)


def _children(situation: Situation) -> tuple[Manifest, ...]:
    """Return what prepare needs, its Job last: once that is there, so is the rest."""
    job, platform = situation.job, situation.platform
    claims = [build_volume_claim(job)] if job.spec.storage.existing_claim is None else []
    return (build_config_map(job, platform=platform), *claims, build_prepare_job(job, platform=platform))
