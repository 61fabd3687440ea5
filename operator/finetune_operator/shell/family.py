"""One FinetuneJob, its children, and what this process remembers about it."""

from dataclasses import dataclass, field
from datetime import datetime

from finetune_api.contract import Role
from finetune_api.status import ConditionType, Phase
from finetune_operator.core import names
from finetune_operator.core.observed import ClaimAnswer, JobView, PodView, ProgressReport, Refusal, Trouble
from finetune_operator.core.sharing import Claimant
from finetune_operator.core.views import reduce_view
from finetune_operator.core.waiting import StartProblem
from finetune_operator.shell.record import Record

Child = JobView | PodView


@dataclass(slots=True)
class Family:
    """One FinetuneJob, if it has been seen, with its children and what this process remembers about it."""

    job: Record | None = None
    children: dict[str, Child] = field(default_factory=dict)
    newest_attempt: int = 0
    troubles: dict[str, Trouble] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    progress: ProgressReport | None = None
    rejection: str = ""
    obstacle: str = ""
    claim_modes: tuple[str, ...] = ()
    claim: ClaimAnswer | None = None
    is_cleared: bool = False

    def own_children(self) -> list[Child]:
        """Return the children that really are: anybody may write a label."""
        return [view for view in self.children.values() if self.is_own(view)]

    def is_own(self, view: Child) -> bool:
        """Tell whether a Job of ours controls the pod, or did: nothing else has a name as such a Job gives."""
        if self.job is None:
            return True
        if view.namespace != self.job.namespace:
            return False
        if isinstance(view, JobView) or view.owner_uid in self.children:
            return True
        job_name = names.child_job(self.job.names, view.role, view.attempt)
        return names.is_pod_name(view.name, job_name, index=view.index if view.role == Role.TRAIN else None)

    def keep(self, view: Child) -> None:
        """Keep a child; of one whose FinetuneJob has ended, only what it takes to remove it.

        The tracker is told after that end, and how that went has to be read.
        """
        is_done = self.job is not None and self.job.is_finished and view.role is not Role.TRACK
        self.children[view.uid] = reduce_view(view) if is_done else view
        if isinstance(view, JobView) and self.is_own(view):
            self.newest_attempt = max(self.newest_attempt, view.attempt)

    def forget_details(self) -> None:
        """Cost next to nothing from now on: the FinetuneJob has ended."""
        self.progress = None
        self.troubles.clear()
        self.refusals.clear()
        for view in list(self.children.values()):
            self.keep(view)

    def gang(self, attempt: int) -> JobView | None:
        """Return the Job of an attempt."""
        jobs = [view for view in self.own_children() if isinstance(view, JobView)]
        return next((job for job in jobs if job.role == Role.TRAIN and job.attempt == attempt), None)

    def tellers(self, job: Record) -> list[PodView]:
        """Return the pods that run and can be asked how far the job is: that of prepare, or that of rank 0."""
        if job.phase not in (Phase.PREPARING, Phase.TRAINING):
            return []
        wanted = (Role.TRAIN, job.attempt) if job.phase == Phase.TRAINING else (Role.PREPARE, 0)
        pods = [view for view in self.own_children() if isinstance(view, PodView)]
        tellers = [pod for pod in pods if (pod.role, pod.attempt) == wanted and pod.index == 0]
        return [pod for pod in tellers if pod.address and not pod.is_terminal and pod.gone_at is None]

    def note_trouble(self, pod: PodView, problem: StartProblem | None, *, now: datetime) -> None:
        """Remember what a pod's own status complains of, and since when; or that it complains no more."""
        old = self.troubles.get(pod.uid)
        if problem is None:
            self.troubles.pop(pod.uid, None)
        elif old is None or old.reason != problem.reason:
            self.troubles[pod.uid] = Trouble(pod_uid=pod.uid, reason=problem.reason, message=problem.message, since=now)


def claimant(family: Family, job: Record) -> Claimant:
    """Return the job as one that wants its folder for itself."""
    manifest, children = job.manifest(), family.own_children()
    metadata, conditions = manifest["metadata"], (manifest.get("status") or {}).get("conditions") or ()
    has_pods = any(isinstance(view, PodView) and not view.is_terminal for view in children)
    has_jobs = any(isinstance(view, JobView) for view in children)
    # A suspended one that is prepared keeps the folder, whoever has removed its Jobs: its inputs are there.
    is_prepared = any((one["type"], one["status"]) == (ConditionType.VALIDATED, "True") for one in conditions)
    is_tracking = any((one["type"], one["status"]) == (ConditionType.TRACKED, "Unknown") for one in conditions)
    has_begun = has_jobs or is_prepared or job.phase not in ("", Phase.PENDING, Phase.SUSPENDED)
    return Claimant(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=metadata.get("creationTimestamp", ""),
        is_at_work=has_pods or is_tracking or (has_begun and not job.is_finished),
        is_waiting=not has_begun and not manifest["spec"].get("suspend"),
    )
