"""What is asked of the API server before a decision, because no watch shows it, or not in time."""

from collections.abc import AsyncIterator, Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from functools import partial

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.types import FinetuneJob
from finetune_operator.core.cleaning import is_gone
from finetune_operator.core.decision import Manifest
from finetune_operator.core.evidence import lacks_evidence
from finetune_operator.core.observed import JobView, Observed, PodView
from finetune_operator.core.shortage import explain_refusal, is_held_for_long, is_short
from finetune_operator.core.views import pod_view
from finetune_operator.core.waiting import explain_events, is_stuck
from finetune_operator.shell.believed import Believed
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster
from finetune_operator.shell.kinds import CLAIM, POD
from finetune_operator.shell.known import Known
from finetune_operator.shell.questions import Questions

MODES_SECONDS = 60.0


@dataclass(frozen=True)
class Inquiry:
    """Puts what it finds into the cache."""

    cache: Cache
    cluster: Cluster
    _: KW_ONLY
    now: Callable[[], datetime]
    known: Known
    questions: Questions = field(default_factory=Questions)
    modes: Believed[tuple[str, str], tuple[str, ...]] = field(default_factory=partial(Believed, seconds=MODES_SECONDS))
    """How claims may be mounted, by namespace and name. They never change, but a claim may be made anew."""

    async def look(self, job: FinetuneJob) -> Observed:
        """Return what is known of the children of a job that has not ended, with what had to be asked for."""
        observed, uid = self.cache.observe(job.metadata.uid), job.metadata.uid
        found = [
            await self._late_pods(job, observed),
            await self._words_about_children(job, observed),
            await self._modes_of_claim(job, observed),
        ]
        return self.cache.observe(uid) if any(found) else observed  # much may have happened meanwhile

    def forget(self, uid: str) -> None:
        """Forget a job that has ended or is gone."""
        self.questions.forget(uid)

    async def _late_pods(self, job: FinetuneJob, observed: Observed) -> bool:
        """Look for pods that ended before their Job did, when the watch of pods is behind the watch of Jobs."""
        if not lacks_evidence(observed, job.status):
            return False
        async for _ in self._live_pods(job, f"{keys.LABEL_JOB_UID}={job.metadata.uid}"):
            pass
        return True

    async def _words_about_children(self, job: FinetuneJob, observed: Observed) -> bool:
        """Look for the reason why a pod does not start, or a Job has too few: it is in their Events alone."""
        uid, now = job.metadata.uid, self.now()
        stuck = [pod for pod in observed.pods if is_stuck(pod, now)]
        short = [
            child
            for child in observed.jobs
            if is_held_for_long(child, now) or is_short(child, observed.pods_of(child.role, attempt=child.attempt), now)
        ]
        asked = self.questions.next(uid, [*short, *stuck])
        if asked is None:
            return False
        if isinstance(asked, JobView) and asked.is_held:
            words = await self.cluster.queue_words(job.metadata.namespace, asked.uid)
            self.cache.note_refusal(uid, asked, words)
            return True
        self.known.forget(uid)  # what is missing may be a ConfigMap that somebody has removed
        notices = await self.cluster.events_about(job.metadata.namespace, asked.uid)
        if isinstance(asked, PodView):
            self.cache.note_events(uid, asked, explain_events(asked, notices))
        else:
            self.cache.note_refusal(uid, asked, explain_refusal(notices))
        return True

    async def _modes_of_claim(self, job: FinetuneJob, observed: Observed) -> bool:
        """Look how a claim that several nodes are to share may be mounted, before anything is made."""
        claim = job.spec.storage.existing_claim
        if claim is None or job.spec.resources.nodes == 1 or observed.jobs:
            return False
        namespace, modes = job.metadata.namespace, self.modes.get((job.metadata.namespace, claim))
        is_asked = modes is None
        if modes is None:
            found = await self.cluster.read(CLAIM, namespace, claim) or {}
            modes = tuple(mode for part in ("spec", "status") for mode in found.get(part, {}).get("accessModes", ()))
            if modes:
                self.modes.note((namespace, claim), modes)
        self.cache.note_claim_modes(job.metadata.uid, modes)
        return is_asked or modes != observed.claim_modes

    async def has_older_ranks(self, job: FinetuneJob, attempt: str) -> bool:
        """Tell whether pods of another attempt live, by a live list: two gangs must never share a volume."""
        uid = job.metadata.uid
        if attempt == "1":  # there was none before
            return False
        pods = self._live_pods(job, f"{keys.LABEL_JOB_UID}={uid},{keys.LABEL_ROLE}={Role.TRAIN.value}")
        others = [pod async for pod in pods if pod["metadata"]["labels"].get(keys.LABEL_ATTEMPT) != attempt]
        return any(self.cache.is_own_pod(uid, pod) and not self._is_gone(pod) for pod in others)

    def _is_gone(self, manifest: Manifest) -> bool:
        view = pod_view(manifest)
        return view is not None and is_gone(view, self.now())

    async def _live_pods(self, job: FinetuneJob, selector: str) -> AsyncIterator[Manifest]:
        """Yield the pods as they are now, and take them over."""
        async for page in self.cluster.pages(POD, job.metadata.namespace, selector=selector):
            for pod in page.items:
                self.cache.put(POD, pod)
                yield pod
