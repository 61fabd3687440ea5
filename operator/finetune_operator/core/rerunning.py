"""Another run of a job that has ended, with fresh budgets, from what its volume holds: inputs, checkpoints, a model.

Nothing of the run before is trusted but the volume, which prepare reads; so what was removed in between is made again.
"""

from dataclasses import replace

from finetune_api.contract import Role
from finetune_api.status import FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.cleaning import delete_orphans, force_stuck, is_gone, kept_jobs, replace_jobs
from finetune_operator.core.decision import Decision, Situation
from finetune_operator.core.phases import is_finished
from finetune_operator.core.results import merge_warnings


def is_rerun_wanted(job: FinetuneJob) -> bool:
    """Tell whether the owner of a job that has ended has set `spec.rerun` since it began."""
    return is_finished(job.status) and job.spec.rerun not in (None, job.status.rerun)


def clear_away(situation: Situation) -> Decision | None:
    """Return the removal of the run before, or None once its pods and all whose names are needed are gone.

    The status stays as it is until then: whoever is killed in between finds the same work to do.
    """
    observed = situation.observed
    are_needed = any(job.role != Role.TRAIN or not job.is_deleting for job in observed.jobs)
    if not are_needed and all(is_gone(pod, situation.now) for pod in observed.pods):
        return None
    jobs = replace_jobs(observed.jobs, situation.job)
    forced, wait = force_stuck(observed.pods, situation.now)
    orphans = delete_orphans(observed, observed.pods, ended=True)
    status = situation.job.status
    status = status.model_copy(update={"warnings": merge_warnings(status.warnings, kept_jobs(situation))})
    return Decision(status=status, delete=(*jobs, *orphans, *forced), requeue_after=wait)


def begin_again(situation: Situation) -> Situation:
    """Return the situation as if the job were new; gangs count on, as the volume knows the number of the last."""
    job = situation.job
    attempt = job.status.attempt + 1 if job.status.attempt else 0
    before = job.status
    status = FinetuneJobStatus(
        attempt=attempt, reruns=before.reruns + 1, avoided_nodes=before.avoided_nodes, storage=before.storage
    )
    fresh = job.model_copy(update={"status": status})
    return replace(situation, job=fresh, observed=replace(situation.observed, rejection=""))
