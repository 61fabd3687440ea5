"""`finetune logs`: which pods to read, and what is left of those that are gone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.status import ConditionType
from finetune_api.workspace import WORKSPACE, Workspace
from finetune_cli.cluster.stored import Manifest, StoredJob

_ROLES = (Role.PUBLISH, Role.TRAIN, Role.PREPARE)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Whose log is asked for."""

    role: Role | None = None
    """None: of the pod that was made last; that of track, which no job waits for, only if it is asked for."""
    rank: int | None = None
    """Of training; None: of all ranks."""
    attempt: int | None = None
    """None: the newest that has pods."""

    @property
    def is_of_training(self) -> bool:
        return self.role is Role.TRAIN


@dataclass(frozen=True)
class Source:
    """A log that can be read."""

    pod: str
    container: str
    role: Role
    attempt: int
    node_rank: int
    """The number of the pod in its gang."""

    @property
    def label(self) -> str:
        """Return what is written before its lines where they stand among those of others."""
        return f"{self.role} {self.attempt}/{self.node_rank}" if self.role is Role.TRAIN else str(self.role)


def sources(pods: Iterable[Manifest], wish: Wish, *, processes_per_node: int) -> list[Source]:
    """Return the logs that are meant, of one role and one attempt, by their place in the gang."""
    found = [_source(pod) for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))]
    found = [one for one in found if one.role is not Role.TRACK or wish.role is Role.TRACK]
    meant = [one for one in found if wish.role in (None, one.role) and wish.attempt in (None, one.attempt)]
    if not meant:
        return []
    last = max(meant, key=lambda one: one.attempt) if wish.is_of_training else meant[-1]
    same = [one for one in meant if (one.role, one.attempt) == (last.role, last.attempt)]
    if last.role is not Role.TRAIN:
        return [last]
    if wish.rank is not None:
        same = [one for one in same if one.node_rank == wish.rank // processes_per_node]
    return sorted(same, key=lambda one: one.node_rank)


def _source(pod: Manifest) -> Source:
    labels = pod["metadata"]["labels"]
    role = Role(labels[keys.LABEL_ROLE])
    return Source(
        pod=pod["metadata"]["name"],
        container=_container(pod, role),
        role=role,
        attempt=int(labels.get(keys.LABEL_ATTEMPT) or 0),
        node_rank=int(labels.get(keys.LABEL_COMPLETION_INDEX) or 0),
    )


def _container(pod: Manifest, role: Role) -> str:
    """Return the container to read: the one of the role, or the one before it that has not let it start."""
    before = [one["name"] for one in (pod.get("status") or {}).get("initContainerStatuses") or ()]
    return Role.PREFLIGHT.value if role not in begun(pod) and Role.PREFLIGHT in before else role.value


def begun(pod: Manifest) -> list[str]:
    """Return the containers of a pod that have begun, and so may have a log."""
    status = pod.get("status") or {}
    told = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return [one["name"] for one in told if "waiting" not in (one.get("state") or {})]


def last_role(job: StoredJob) -> Role:
    """Return whose log has what the job did last; `attempt` alone does not tell, as a rerun keeps it."""
    validated = job.condition(ConditionType.VALIDATED)
    is_prepared = validated is not None and validated.status == "True"
    return Role.TRAIN if is_prepared and job.status.attempt else Role.PREPARE


def settled(job: StoredJob, wish: Wish) -> Wish:
    """Return the wish with all that was left open: what a job that has no pods was at last, and rank 0."""
    role = wish.role or last_role(job)
    lost = job.status.last_failure
    is_told = lost is not None and role is Role.TRAIN and wish.attempt in (None, lost.attempt)
    attempt, rank = (lost.attempt, lost.rank) if is_told and lost is not None else (job.status.attempt, None)
    return Wish(role=role, rank=wish.rank if wish.rank is not None else rank or 0, attempt=wish.attempt or attempt)


def processes_per_node(job: StoredJob) -> int:
    """Return the training processes that one pod has."""
    accelerator = job.part("resources").get("accelerator") or {}
    return max(1, int(accelerator.get("perNode", 1)))


def _log(job: StoredJob, wish: Wish, *, root: str) -> Path:
    workspace = Workspace(Path(root))
    if wish.is_of_training:
        return workspace.rank_log(wish.attempt or job.status.attempt, wish.rank or 0)
    return workspace.role_log(wish.role or Role.PREPARE)


def mounted_log(job: StoredJob, wish: Wish) -> str:
    """Return where a pod of the job has it."""
    return str(_log(job, wish, root=WORKSPACE))


def last_words(job: StoredJob, wish: Wish) -> Sequence[str]:
    """Return the last lines that the status has of the log that is meant; none if it has none."""
    lost = job.status.last_failure
    if lost is None or not wish.is_of_training:
        return ()
    is_meant = wish.attempt in (None, lost.attempt) and wish.rank in (None, lost.rank)
    return lost.lines if is_meant else ()


def place(job: StoredJob, wish: Wish) -> str:
    """Return where on the volume the whole log is; empty if that is not known."""
    storage = job.status.storage
    if storage is None:
        return ""
    return f"{_log(job, wish, root=storage.folder)} on volume claim {storage.claim}"
