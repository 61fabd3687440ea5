"""The newest known state of FinetuneJobs and their children, by the uid of the FinetuneJob."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from finetune_api.contract import Progress, Role
from finetune_api.status import Phase
from finetune_operator.core import listening
from finetune_operator.core.decision import Manifest
from finetune_operator.core.observed import JobView, Observed, PodView, ProgressReport, Refusal, Trouble
from finetune_operator.core.views import job_view, owner_uid, pod_view
from finetune_operator.core.waiting import StartProblem, start_problem
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, Kind

MAX_TOMBSTONES = 10_000


@dataclass
class Family:
    """One FinetuneJob, if it has been seen, with its children and what this process remembers about it."""

    manifest: Manifest | None = None
    children: dict[str, JobView | PodView] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    progress: ProgressReport | None = None
    progress_written_at: datetime | None = None
    rejection: str = ""
    obstacle: str = ""
    is_cleared: bool = False

    def own_children(self) -> list[JobView | PodView]:
        """Return the children in the job's namespace; anybody may write a label in another one."""
        children = list(self.children.values())
        if self.manifest is None:
            return children
        return [view for view in children if view.namespace == self.manifest["metadata"]["namespace"]]


@dataclass(frozen=True)
class Target:
    """A rank 0 to ask for progress."""

    uid: str
    attempt: int
    address: str
    pod_uid: str = ""


class Cache:
    """Everything that was seen. Older versions never replace newer ones, and what was deleted stays so."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._families: dict[str, Family] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def put(self, kind: Kind, manifest: Manifest) -> str:
        """Keep an object; return the uid of the FinetuneJob it concerns, empty if none."""
        if manifest["metadata"]["uid"] in self._gone:
            return ""
        return self._put_job(manifest) if kind == FINETUNE_JOB else self._put_child(kind, manifest)

    def _put_job(self, manifest: Manifest) -> str:
        uid = str(manifest["metadata"]["uid"])
        family = self._families.setdefault(uid, Family())
        if family.manifest is None or _version(manifest) >= _version(family.manifest):
            metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
            family.manifest = {**manifest, "metadata": metadata}
        return uid

    def _put_child(self, kind: Kind, manifest: Manifest) -> str:
        uid = owner_uid(manifest)
        view = job_view(manifest) if kind == JOB else pod_view(manifest)
        if not uid or view is None:
            return ""
        family = self._families.setdefault(uid, Family())
        old = family.children.get(view.uid)
        if old is None or view.resource_version >= old.resource_version:
            family.children[view.uid] = view
            if isinstance(view, PodView):
                self._note_trouble(family, view, start_problem(view))
        return uid

    def drop(self, kind: Kind, manifest: Manifest) -> str:
        """Forget a deleted object; return the uid of the FinetuneJob it concerned, empty if none."""
        own_uid = str(manifest["metadata"]["uid"])
        self._bury(own_uid)
        uid = own_uid if kind == FINETUNE_JOB else owner_uid(manifest)
        family = self._families.get(uid)
        if family is None:
            return uid
        if kind == FINETUNE_JOB:
            family.manifest = None
        else:
            self._remove_child(family, own_uid)
        if family.manifest is None and not family.children:
            del self._families[uid]
        return uid

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        while len(self._gone) > MAX_TOMBSTONES:
            self._gone.popitem(last=False)

    @staticmethod
    def _remove_child(family: Family, uid: str) -> None:
        family.children.pop(uid, None)
        family.troubles.pop(uid, None)
        family.refusals.pop(uid, None)
        if family.progress is not None and family.progress.pod_uid == uid:
            family.progress = None

    def replace_all(self, kind: Kind, manifests: Iterable[Manifest], *, version: int) -> None:
        """Take over a full list of a kind; what it lacks, and is not newer than the list, is gone."""
        listed = {str(manifest["metadata"]["uid"]) for manifest in manifests}
        for manifest in manifests:
            self.put(kind, manifest)
        for uid, family in list(self._families.items()):
            if kind == FINETUNE_JOB:
                known = family.manifest
                if known is not None and uid not in listed and _version(known) <= version:
                    self.drop(kind, known)
            else:
                self._drop_ghosts(family, JobView if kind == JOB else PodView, listed, version)

    def _drop_ghosts(self, family: Family, view_type: type[Any], listed: set[str], version: int) -> None:
        for uid, view in list(family.children.items()):
            if isinstance(view, view_type) and uid not in listed and view.resource_version <= version:
                self._bury(uid)
                self._remove_child(family, uid)

    def job(self, uid: str) -> Manifest | None:
        """Return the FinetuneJob, or None."""
        family = self._families.get(uid)
        return family.manifest if family else None

    def jobs(self) -> list[Manifest]:
        """Return all FinetuneJobs."""
        return [family.manifest for family in self._families.values() if family.manifest is not None]

    def observe(self, uid: str) -> Observed:
        """Return what is known of a job's children."""
        family = self._families.get(uid) or Family()
        children = family.own_children()
        return Observed(
            jobs=tuple(view for view in children if isinstance(view, JobView)),
            pods=tuple(view for view in children if isinstance(view, PodView)),
            progress=family.progress,
            troubles=tuple(family.troubles.values()),
            refusals=tuple(family.refusals.values()),
            rejection=family.rejection,
            obstacle=family.obstacle,
            is_cleared=family.is_cleared,
            progress_written_at=family.progress_written_at,
        )

    def targets(self) -> list[Target]:
        """Return every rank 0 that trains now."""
        found = []
        for uid, family in self._families.items():
            status = (family.manifest or {}).get("status") or {}
            if status.get("phase") != Phase.TRAINING:
                continue
            attempt = status.get("attempt", 0)
            found += [Target(uid, attempt, pod.address, pod.uid) for pod in _leaders(family, attempt)]
        return found

    def note_polled(self, target: Target, answer: Progress | str, *, at: float) -> bool:
        """Keep what rank 0 answered, or why it did not; tell whether a decision should look at it.

        `at` is the time on a monotonic clock.
        """
        family = self._families.get(target.uid)
        if family is None:
            return False
        old = family.progress
        if old is None or (old.attempt, old.pod_uid) != (target.attempt, target.pod_uid):
            old = ProgressReport(attempt=target.attempt, pod_uid=target.pod_uid)
        if isinstance(answer, str):
            family.progress = listening.unanswered(old, answer, at=at)
            return family.progress.silence != old.silence
        family.progress = listening.answered(old, answer, at=at)
        return True

    def note_progress_written(self, uid: str) -> None:
        """Remember that progress went into the status just now."""
        if uid in self._families:
            self._families[uid].progress_written_at = self._now()

    def note_rejection(self, uid: str, message: str) -> None:
        """Remember that the API server refused a child for good."""
        if uid in self._families:
            self._families[uid].rejection = message

    def note_obstacle(self, uid: str, message: str) -> None:
        """Remember why a child cannot be made just now; empty: all could."""
        if uid in self._families:
            self._families[uid].obstacle = message

    def note_cleared(self, uid: str, *, is_cleared: bool) -> None:
        """Remember whether a removal found nothing left to remove."""
        if uid in self._families:
            self._families[uid].is_cleared = is_cleared

    def note_events(self, uid: str, pod: PodView, problem: StartProblem | None) -> None:
        """Remember what a pod's events say about why it does not start."""
        family = self._families.get(uid)
        if family is not None and problem is not None:
            since = pod.scheduled_at or self._now()
            family.troubles[pod.uid] = Trouble(
                pod_uid=pod.uid, reason=problem.reason, message=problem.message, since=since
            )

    def note_refusal(self, uid: str, job: JobView, message: str) -> None:
        """Remember what a Job's events say about why it has too few pods."""
        family = self._families.get(uid)
        if family is not None and message:
            family.refusals[job.uid] = Refusal(job_uid=job.uid, message=message)

    def _note_trouble(self, family: Family, pod: PodView, problem: StartProblem | None) -> None:
        old = family.troubles.get(pod.uid)
        if problem is None:
            family.troubles.pop(pod.uid, None)
        elif old is None or old.reason != problem.reason:
            family.troubles[pod.uid] = Trouble(
                pod_uid=pod.uid, reason=problem.reason, message=problem.message, since=self._now()
            )


def _version(manifest: Manifest) -> int:
    return int(manifest["metadata"].get("resourceVersion") or 0)


def _leaders(family: Family, attempt: int) -> list[PodView]:
    pods = [view for view in family.own_children() if isinstance(view, PodView)]
    leaders = [pod for pod in pods if pod.role == Role.TRAIN and pod.attempt == attempt and pod.index == 0]
    return [pod for pod in leaders if pod.address and not pod.is_terminal and pod.gone_at is None]
