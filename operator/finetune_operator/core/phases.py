"""Phases: entering one sets the phase, its time and the summary conditions together."""

from typing import Any

from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase, StorageStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.conditions import ConditionValue, Finding, set_conditions
from finetune_operator.core.decision import Situation
from finetune_operator.core.limits import time_of_training
from finetune_operator.core.pinning import pinned_image
from finetune_operator.core.times import format_time

FINISHED = (Phase.SUCCEEDED, Phase.FAILED)
#: While in these, GitOps tools should wait; later the job is on its way by itself.
RECONCILING = (Phase.PENDING, Phase.PREPARING, Phase.QUEUED, Phase.RESTARTING)


def is_finished(status: FinetuneJobStatus) -> bool:
    """Tell whether the job ended, well or not."""
    return status.phase in FINISHED


def begin(situation: Situation) -> FinetuneJobStatus:
    """Return the status to go on from: as it was written, with what is known from the first visit on."""
    job, status = situation.job, situation.job.status
    if status.phase is None:
        status = enter(status, situation, Phase.PENDING, Reason.ACCEPTED, "the operator has taken the job up")
        status = update_conditions(
            status,
            situation,
            Finding(ConditionType.VALIDATED, "Unknown", Reason.ACCEPTED),
            Finding(ConditionType.SCHEDULED, "Unknown", Reason.ACCEPTED),
            Finding(ConditionType.TRAINING, "Unknown", Reason.ACCEPTED),
            Finding(ConditionType.PUBLISHED, "Unknown", Reason.ACCEPTED),
        )
    update = {
        "observed_generation": job.metadata.generation,
        "rerun": job.spec.rerun,
        "image": pinned_image(job, situation.platform),
        "storage": _storage(job),
        "start_time": status.start_time or format_time(situation.now),
        "world_size": status.world_size or job.spec.resources.nodes * job.spec.resources.processes_per_node,
    }
    return status.model_copy(update=update)


def _storage(job: FinetuneJob) -> StorageStatus:
    """Return where the job's files lie; of a claim that is to be made, how it will be."""
    found = job.status.storage or StorageStatus(claim=names.workspace(job), folder=names.folder(job))
    storage = job.spec.storage
    if storage.existing_claim is not None or job.status.storage is not None:
        return found
    return found.model_copy(update={"size": storage.size, "goes_with_job": storage.retain == "WithJob"})


def enter(
    status: FinetuneJobStatus, situation: Situation, phase: Phase, reason: Reason, message: str
) -> FinetuneJobStatus:
    """Return the status in a phase on the way (not a final one), with summary conditions to match."""
    is_reconciling: ConditionValue = "True" if phase in RECONCILING else "False"
    status = in_phase(status, situation, phase)
    return update_conditions(
        status,
        situation,
        Finding(ConditionType.SUCCEEDED, "Unknown", reason, message),
        Finding(ConditionType.FINISHED, "False", reason),
        Finding(ConditionType.RECONCILING, is_reconciling, reason),
        Finding(ConditionType.STALLED, "False", reason),
    )


def suspended(status: FinetuneJobStatus, situation: Situation) -> FinetuneJobStatus:
    """Return the status of a job that its owner holds back. Its start, from which deadlines count, is yet to come."""
    message = "spec.suspend is true; set it to false to go on"
    status = enter(status, situation, Phase.SUSPENDED, Reason.SUSPENDED, message)
    return status.model_copy(update={"start_time": None, "gang_returns": None})


def in_phase(status: FinetuneJobStatus, situation: Situation, phase: Phase) -> FinetuneJobStatus:
    """Return the status with the phase, and the time it was first entered."""
    times = {phase.value: format_time(situation.now), **status.phase_times}
    update: dict[str, Any] = {"phase": phase, "phase_times": times, **time_of_training(status, phase, situation)}
    if status.phase == Phase.PREPARING != phase:  # how far prepare is says nothing of what comes next
        update["progress"] = None
    if phase != Phase.TRAINING:  # nobody is asked for progress
        update["conditions"] = [one for one in status.conditions if one.type != ConditionType.PROGRESS_KNOWN]
    return status.model_copy(update=update)


def update_conditions(status: FinetuneJobStatus, situation: Situation, *findings: Finding) -> FinetuneJobStatus:
    """Return the status with these conditions set."""
    generation = situation.job.metadata.generation
    conditions = set_conditions(status.conditions, *findings, now=situation.now, generation=generation)
    return status.model_copy(update={"conditions": conditions})
