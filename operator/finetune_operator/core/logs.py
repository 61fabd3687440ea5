"""Where on the job's volume the log of a failed pod stays when the pod is gone."""

from dataclasses import replace

from finetune_api.contract import Role
from finetune_api.types import FinetuneJob
from finetune_api.workspace import Workspace
from finetune_operator.core import names
from finetune_operator.core.failures import Failure


def with_log(failure: Failure, job: FinetuneJob, *, role: Role, attempt: int = 0) -> Failure:
    """Return the failure with the place of its log in the message; as it is if its container said nothing."""
    if failure.node_rank is None:
        return failure
    workspace = Workspace.on_volume(names.folder(job))
    first_rank = failure.node_rank * job.spec.resources.processes_per_node
    rank = first_rank if failure.rank is None else failure.rank
    log = workspace.rank_log(attempt, rank) if role is Role.TRAIN else workspace.role_log(role)
    text = f"{failure.message.removesuffix('.')}. Log: {log} on claim {names.workspace(job)}"
    return replace(failure, message=text)
