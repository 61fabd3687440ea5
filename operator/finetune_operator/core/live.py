"""A pod that tells a tracker of a gang while it trains. It comes and goes with the gang, which never waits for it."""

from dataclasses import replace

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_api.tracking import MLflow
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.track_job import build_live_track_job
from finetune_operator.core.cleaning import delete_jobs
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.observed import Observed
from finetune_operator.core.phases import is_finished
from finetune_operator.core.telling import told, with_complaint


def with_live_telling(decision: Decision, situation: Situation) -> Decision:
    """Return the decision with the pod beside the gang made once all ranks run, and removed once they do not.

    Whether it can be made changes nothing else. Those of a job that has ended are removed with all that is left of it.
    """
    status, observed = decision.status, situation.observed
    if is_finished(status):
        return decision
    if situation.job.spec.tracking is None:  # its owner has thought better of it
        left = [one for one in status.conditions if one.type != ConditionType.TRACKED]
        status = status.model_copy(update={"conditions": left})
    target = _target(status, situation)
    wanted = 0 if target is None else status.attempt
    unwanted = [job for job in observed.jobs if job.role is Role.TRACK and job.attempt not in (0, wanted)]
    decision = replace(decision, status=status, delete=(*decision.delete, *delete_jobs(unwanted)))
    return decision if target is None else _beside_gang(decision, situation, target)


def is_told_meanwhile(observed: Observed) -> bool:
    """Tell whether a pod that goes with a gang may still write to the tracker."""
    jobs = any(job.role is Role.TRACK and job.attempt and not job.is_finished for job in observed.jobs)
    return jobs or any(pod.role is Role.TRACK and pod.attempt and not pod.is_terminal for pod in observed.pods)


def _target(status: FinetuneJobStatus, situation: Situation) -> MLflow | None:
    """Return the tracker to tell of the gang that trains, if any is.

    Not where all roles wait in the queue of the gangs: there, this pod could hold one back, or have one preempted. Not
    Weights & Biases, whose steps only rise: what is known at the end alone, of step 0, could not be told any more.
    """
    tracking = situation.job.spec.tracking
    is_told = status.phase == Phase.TRAINING and status.run is not None and not situation.platform.queue_all_roles
    return tracking.mlflow if tracking is not None and is_told else None


def _beside_gang(decision: Decision, situation: Situation, target: MLflow) -> Decision:
    status, observed, job, platform = decision.status, situation.observed, situation.job, situation.platform
    name = target.run_name or f"{job.metadata.namespace}/{job.metadata.name}"
    where = f"run {name} of experiment {target.experiment} at {target.uri}"
    message = f"a pod tells the tracker what checkpoints keep, while gangs train: {where}"
    status = told(status, situation, "Unknown", Reason.TRACKING, message)
    live = observed.job(Role.TRACK, attempt=status.attempt)
    if live is not None:
        pods = observed.pods_of(Role.TRACK, attempt=status.attempt)
        return replace(decision, status=with_complaint(status, situation, live, pods))
    if is_told_meanwhile(observed):
        return replace(decision, status=status)
    assert status.run is not None
    assert job.spec.tracking is not None
    child = build_live_track_job(job, job.spec.tracking, status, run=status.run, platform=platform)
    return replace(decision, status=status, optional=(build_config_map(job, platform=platform), child))
