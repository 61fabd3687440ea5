"""The newest known state of FinetuneJobs and their children, by the uid of the FinetuneJob."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from finetune_api.contract import Progress
from finetune_operator.core import listening
from finetune_operator.core.decision import Manifest
from finetune_operator.core.observed import ClaimAnswer, JobView, Observed, PodView, ProgressReport, Refusal, Trouble
from finetune_operator.core.views import job_view, labelled_uid, pod_view
from finetune_operator.core.waiting import StartProblem, start_problem
from finetune_operator.shell.family import Family
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, Kind
from finetune_operator.shell.neighbours import Neighbours
from finetune_operator.shell.record import Record, make_record

logger = logging.getLogger(__name__)
MAX_TOMBSTONES = 10_000
#: Why an object with our labels is left alone.
FOREIGN, UNREADABLE = "foreign", "unreadable"


@dataclass(frozen=True)
class Target:
    """A prepare pod or a rank 0 to ask for progress."""

    uid: str
    attempt: int
    address: str
    pod_uid: str = ""


class Cache:
    """Everything that was seen. Older versions never replace newer ones, and what was deleted stays so."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._families: dict[str, Family] = {}
        self._neighbours = Neighbours(self._families)
        self._homes: dict[str, str] = {}
        """Uid of the FinetuneJob by that of the child."""
        self._ignored: dict[str, tuple[str, str]] = {}
        """Resource and reason by the uid of what carries our labels and is left alone."""
        self._gone: OrderedDict[str, None] = OrderedDict()

    def put(self, kind: Kind, manifest: Manifest) -> str:
        """Keep an object; return the uid of the FinetuneJob that it is news to, empty if to none.

        What cannot be read is somebody else's doing: it is noted and left alone, and never stops the work on the rest.
        """
        uid = str(manifest["metadata"]["uid"])
        if uid in self._gone:
            return ""
        try:
            home, is_news = self._put_job(manifest) if kind == FINETUNE_JOB else self._put_child(kind, manifest)
        except Exception as error:  # noqa: BLE001 - anything at all may be written in a manifest
            self.note_unreadable(kind, manifest, repr(error))
            return ""
        self._ignored.pop(uid, None)
        if not home:
            self._remove_child(uid)
            self._ignored[uid] = (kind.plural, FOREIGN)
        return home if is_news else ""

    def note_unreadable(self, kind: Kind, manifest: Manifest, problem: str) -> None:
        """Remember, and say once, that an object is left alone because it cannot be read, until it can be."""
        metadata, entry = manifest["metadata"], (kind.plural, UNREADABLE)
        if self._ignored.get(metadata["uid"]) != entry:
            self._ignored[metadata["uid"]] = entry
            extra = {"resource": kind.plural, "namespace": metadata.get("namespace"), "object": metadata.get("name")}
            logger.warning("an object cannot be read and is left alone", extra={**extra, "error": problem[:200]})

    def ignored(self) -> Counter[tuple[str, str]]:
        """Return how many objects carry our labels and are left alone, by resource and reason."""
        strangers = (
            ("jobs" if isinstance(view, JobView) else "pods", FOREIGN)
            for family in self._families.values()
            for view in family.children.values()
            if not family.is_own(view)
        )
        return Counter([*self._ignored.values(), *strangers])

    def is_own_pod(self, uid: str, manifest: Manifest) -> bool:
        """Tell whether a pod is one of this FinetuneJob's, whether or not the cache has it."""
        try:
            view = pod_view(manifest)
        except Exception:  # noqa: BLE001 - as in `put`
            return False
        return view is not None and uid in self._families and self._families[uid].is_own(view)

    def _put_job(self, manifest: Manifest) -> tuple[str, bool]:
        uid = str(manifest["metadata"]["uid"])
        version = int(manifest["metadata"].get("resourceVersion") or 0)
        family = self._families.get(uid) or Family()
        is_news = family.job is None or version > family.job.version
        if is_news:
            old, family.job = family.job, make_record(manifest)
            self._neighbours.moved(uid, old, family.job)
            if family.job.is_finished:
                family.forget_details()
        self._families[uid] = family
        return uid, is_news

    def _put_child(self, kind: Kind, manifest: Manifest) -> tuple[str, bool]:
        view = job_view(manifest) if kind == JOB else pod_view(manifest)
        if view is None:
            return "", False
        # A Job is controlled by its FinetuneJob; a pod by a Job, which may be gone, or not be seen yet.
        job_home = view.owner_uid if isinstance(view, JobView) else self._homes.get(view.owner_uid)
        uid = job_home or labelled_uid(manifest)
        if not uid:
            return "", False
        family = self._families.setdefault(uid, Family())
        old = family.children.get(view.uid)
        if old is not None and view.resource_version < old.resource_version:
            return uid, False
        self._homes[view.uid] = uid
        family.keep(view)
        if isinstance(view, PodView):
            family.note_trouble(view, start_problem(view), now=self._now())
        # Much of what the Job controller and kubelets write has no meaning here: counts, conditions, finalizers.
        is_same = old is not None and replace(family.children[view.uid], resource_version=old.resource_version) == old
        return uid, not is_same

    def drop(self, kind: Kind, uid: str) -> str:
        """Forget a deleted object; return the uid of the FinetuneJob it concerned, empty if none."""
        self._gone[uid] = None
        while len(self._gone) > MAX_TOMBSTONES:
            self._gone.popitem(last=False)
        self._ignored.pop(uid, None)
        if kind != FINETUNE_JOB:
            return self._remove_child(uid)
        if uid in self._families:
            self._neighbours.moved(uid, self._families[uid].job, None)
            self._families[uid].job = None
            self._remove_if_empty(uid)
        return uid

    def _remove_child(self, uid: str) -> str:
        home = self._homes.pop(uid, "")
        if home:
            family = self._families[home]
            for remembered in (family.children, family.troubles, family.refusals):
                remembered.pop(uid, None)
            if family.progress is not None and family.progress.pod_uid == uid:
                family.progress = None
            self._remove_if_empty(home)
        return home

    def _remove_if_empty(self, uid: str) -> None:
        if self._families[uid].job is None and not self._families[uid].children:
            del self._families[uid]

    def keep_only(self, kind: Kind, listed: Collection[str], *, version: int) -> None:
        """Forget what a full list of a kind lacks, by uid, unless it is newer than the list."""
        if kind == FINETUNE_JOB:
            known = [(uid, family.job.version) for uid, family in self._families.items() if family.job is not None]
        else:
            view_type = JobView if kind == JOB else PodView
            views = [view for family in self._families.values() for view in family.children.values()]
            known = [(view.uid, view.resource_version) for view in views if isinstance(view, view_type)]
        ignored = [(uid, 0) for uid, (resource, _) in self._ignored.items() if resource == kind.plural]
        for uid, known_version in [*known, *ignored]:
            if uid not in listed and known_version <= version:
                self.drop(kind, uid)

    def job(self, uid: str) -> Manifest | None:
        """Return the FinetuneJob, or None."""
        record = self._record_of(uid)
        return record.manifest() if record else None

    def is_new(self, uid: str) -> bool:
        """Tell whether nobody has acted on the FinetuneJob yet."""
        record = self._record_of(uid)
        return record is not None and not record.phase

    def has_job(self, uid: str) -> bool:
        """Tell whether the FinetuneJob is there."""
        return self._record_of(uid) is not None

    def _record_of(self, uid: str) -> Record | None:
        family = self._families.get(uid)
        return family.job if family else None

    def uids(self) -> list[str]:
        """Return the uids of all FinetuneJobs: first those that nobody has looked at, last those that have ended."""
        found = [(uid, family.job) for uid, family in self._families.items() if family.job is not None]
        return [uid for uid, job in sorted(found, key=lambda one: (one[1].is_finished, bool(one[1].phase)))]

    def jobs(self) -> Iterator[Manifest]:
        """Yield all FinetuneJobs, one at a time: together they would take ten times as much as they do here.

        Another thread may ask for them: records never change, and the list of them is taken at once.
        """
        for family in list(self._families.values()):
            if (record := family.job) is not None:
                yield record.manifest()

    def observe(self, uid: str) -> Observed:
        """Return what is known of a job's children."""
        family = self._families.get(uid) or Family()
        children, job, near = family.own_children(), family.job, self._neighbours
        return Observed(
            jobs=tuple(view for view in children if isinstance(view, JobView)),
            pods=tuple(view for view in children if isinstance(view, PodView)),
            newest_attempt=family.newest_attempt,
            progress=family.progress,
            troubles=tuple(family.troubles.values()),
            refusals=tuple(family.refusals.values()),
            rejection=family.rejection,
            obstacle=family.obstacle,
            workspace_holder=near.workspace_holder(uid, job) if job else None,
            gang_ahead=near.gang_ahead(uid, job, self._now()) if job else "",
            claim_modes=family.claim_modes,
            rival=near.rival(uid, job) if job else "",
            is_claim_shared=near.is_claim_shared(uid, job) if job else False,
            claim=family.claim,
            is_cleared=family.is_cleared,
        )

    def targets(self) -> list[Target]:
        """Return every pod that prepares and every rank 0 that trains now."""
        return [
            Target(uid, pod.attempt, pod.address, pod.uid)
            for uid, family in self._families.items()
            if family.job is not None
            for pod in family.tellers(family.job)
        ]

    def note_polled(self, target: Target, answer: Progress | str, *, at: float) -> bool:
        """Keep what a pod answered, or why it did not; tell whether a decision should look at it.

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

    def note_rejection(self, uid: str, message: str) -> None:
        """Remember that the API server refused a child for good."""
        if uid in self._families:
            self._families[uid].rejection = message

    def note_obstacle(self, uid: str, message: str) -> None:
        """Remember why a child cannot be made just now; empty: all could."""
        if uid in self._families:
            self._families[uid].obstacle = message

    def note_claim_modes(self, uid: str, modes: tuple[str, ...]) -> None:
        """Remember how the job's existing claim may be mounted; empty: there is none yet."""
        if uid in self._families:
            self._families[uid].claim_modes = modes

    def note_claim(self, uid: str, answer: ClaimAnswer) -> None:
        """Remember what was asked of the claim made for the job."""
        if uid in self._families:
            self._families[uid].claim = answer

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
        """Remember what a Job's events say about why it has too few pods, or its queue about why it has none."""
        family = self._families.get(uid)
        if family is not None and message:
            family.refusals[job.uid] = Refusal(job_uid=job.uid, message=message, is_of_queue=job.is_held)
