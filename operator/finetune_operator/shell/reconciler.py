"""One look at one job: observe, decide, act. Never run twice at once for the same job."""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.problem import Problem
from finetune_api.problems import parse_job
from finetune_api.status import ConditionType, FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.cleaning import is_gone
from finetune_operator.core.conditions import is_true
from finetune_operator.core.decide import decide
from finetune_operator.core.decision import ClaimChange, Decision, Deletion, Event, Manifest
from finetune_operator.core.evidence import lacks_evidence
from finetune_operator.core.observed import ClaimAnswer, JobView, PodView
from finetune_operator.core.phases import is_finished
from finetune_operator.core.platform import Platform
from finetune_operator.core.refusing import refuse, without_spec
from finetune_operator.core.shortage import explain_refusal, is_short
from finetune_operator.core.times import parse_time, seconds_since
from finetune_operator.core.views import pod_view
from finetune_operator.core.waiting import explain_events, is_stuck
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster, NameTakenError
from finetune_operator.shell.freshness import Freshness
from finetune_operator.shell.kinds import CHILDREN, CLAIM, FINETUNE_JOB, JOB, POD, Kind
from finetune_operator.shell.known import Known
from finetune_operator.shell.pace import Pace
from finetune_operator.shell.questions import Questions
from finetune_operator.shell.rehearsed import Rehearsed
from finetune_operator.shell.telemetry import Telemetry
from finetune_operator.shell.wire import CONFLICT, FORBIDDEN, NOT_FOUND, UNREACHABLE, ApiError
from finetune_operator.shell.writers import Writers

logger = logging.getLogger(__name__)
BUSY_NAME_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Acts on decisions, in the order that `Decision` demands."""

    cache: Cache
    cluster: Cluster
    freshness: Freshness
    telemetry: Telemetry
    platform: Platform
    instance: str
    """Name of this pod, for Events."""
    now: Callable[[], datetime]
    pace: Pace
    """Of writes of progress."""
    writers: Writers = field(default_factory=Writers)
    known: Known = field(default_factory=Known)
    rehearsed: Rehearsed = field(default_factory=Rehearsed)
    questions: Questions = field(default_factory=Questions)

    async def reconcile(self, uid: str) -> float | None:
        """Look at the job once; return the seconds after which to look again, None for no time of its own.

        Raises ApiError if the API server did not do as asked; trying again later is then right.
        """
        manifest = self.cache.job(uid)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            self.known.forget(uid)
            self.questions.forget(uid)
            return None  # children go by their owner references
        parsed = parse_job(manifest)
        if isinstance(parsed, list):
            refused = self._refuse(manifest, parsed)
            if refused is None:
                return None
            job, decision = refused
        else:
            job = parsed
            if is_finished(job.status):
                self.questions.forget(uid)
                self.known.forget(uid)
            else:
                await self._fetch_late_pods(job)
                await self._ask_about_children(job)
                await self._ask_claim(job)
            is_due = self.pace.is_due(uid, has_progress=job.status.progress is not None)
            observed = replace(self.cache.observe(uid), is_progress_due=is_due)
            decision = decide(job, observed, self.now(), platform=self.platform)
        return await self._act(job, decision)

    def _refuse(self, manifest: Manifest, problems: list[Problem]) -> tuple[FinetuneJob, Decision] | None:
        """Return what can be read of the job, and its refusal; None if not even its status can be read."""
        self.cache.note_unreadable(FINETUNE_JOB, manifest, "; ".join(str(problem) for problem in problems))
        try:
            job = without_spec(manifest)
        except ValidationError:
            return None
        return job, refuse(job, problems, self.now(), platform=self.platform)

    async def _fetch_late_pods(self, job: FinetuneJob) -> None:
        """Look for pods that ended before their Job did, when the watch of pods is behind the watch of Jobs."""
        uid = job.metadata.uid
        if lacks_evidence(self.cache.observe(uid), job.status):
            async for _ in self._live_pods(job, f"{keys.LABEL_JOB_UID}={uid}"):
                pass

    async def _ask_about_children(self, job: FinetuneJob) -> None:
        """Look for the reason why a pod does not start, or a Job has too few: it is in their Events alone."""
        uid, now = job.metadata.uid, self.now()
        observed = self.cache.observe(uid)
        stuck = [pod for pod in observed.pods if is_stuck(pod, now)]
        short = [
            child
            for child in observed.jobs
            if child.is_held or is_short(child, observed.pods_of(child.role, attempt=child.attempt), now)
        ]
        asked = self.questions.next(uid, [*short, *stuck])
        if asked is None:
            return
        if isinstance(asked, JobView) and asked.is_held:
            words = await self.cluster.queue_words(job.metadata.namespace, asked.uid)
            self.cache.note_refusal(uid, asked, words)
            return
        self.known.forget(uid)  # what is missing may be a ConfigMap that somebody has removed
        notices = await self.cluster.events_about(job.metadata.namespace, asked.uid)
        if isinstance(asked, PodView):
            self.cache.note_events(uid, asked, explain_events(asked, notices))
        else:
            self.cache.note_refusal(uid, asked, explain_refusal(notices))

    async def _ask_claim(self, job: FinetuneJob) -> None:
        """Look how a claim that several nodes are to share may be mounted, before anything is made."""
        uid, claim = job.metadata.uid, job.spec.storage.existing_claim
        if claim is None or job.spec.resources.nodes == 1 or self.cache.observe(uid).jobs:
            return
        found = await self.cluster.read(CHILDREN["PersistentVolumeClaim"], job.metadata.namespace, claim) or {}
        modes = [*found.get("spec", {}).get("accessModes", ()), *found.get("status", {}).get("accessModes", ())]
        self.cache.note_claim_modes(uid, tuple(modes))

    async def _act(self, job: FinetuneJob, decision: Decision) -> float | None:
        has_new_status = decision.status != job.status
        # A claim goes by the newest version of its job alone: whoever was frozen may not know that it runs anew.
        is_decided_anew = has_new_status or any(one.kind == CLAIM.name for one in decision.delete)
        if is_decided_anew and not await self._write_status(job, decision.status):
            return None
        for event in decision.events:
            await self._post(job, event)
        if decision.change is not None:
            await self._change(job, decision.change)
        removed = [await self._remove(job, deletion) for deletion in decision.delete]
        self.cache.note_cleared(job.metadata.uid, is_cleared=bool(removed) and not any(removed))
        if not await self._rehearse(job, decision.rehearse):
            return 0.0
        made = [await self._make(job, manifest) for manifest in decision.apply]
        self.cache.note_obstacle(job.metadata.uid, "")
        is_changed = has_new_status or any(removed) or any(made)
        self.telemetry.reconciles.labels("changed" if is_changed else "unchanged").inc()
        if is_changed:
            self._report(job, decision)
        if not all(made_one is not None for made_one in made):
            return BUSY_NAME_SECONDS
        return decision.requeue_after

    async def _write_status(self, job: FinetuneJob, status: FinetuneJobStatus) -> bool:
        """Write the status; False if the job is gone."""
        uid = job.metadata.uid
        try:
            with self.writers.writing(uid):
                written = await self.cluster.apply_status(job, status)
                self.writers.wrote(uid, int(written["metadata"]["resourceVersion"]))
        except ApiError as error:
            if error.status == NOT_FOUND:
                return False
            if error.status == UNREACHABLE:
                self.writers.may_have_written(uid)
            raise
        self.telemetry.status_writes.inc()
        self.cache.put(FINETUNE_JOB, written)
        self._expect(FINETUNE_JOB, written)
        if status.progress != job.status.progress:
            self.pace.note_written(job.metadata.uid)
            self.telemetry.progress_writes.inc()
        if is_finished(job.status) and not is_finished(status):
            self.cache.note_rejection(job.metadata.uid, "")
        if status.attempt > job.status.attempt > 0:
            self.known.forget(uid)  # the gang may have been lost with what it needs, as by `kubectl delete all`
        self._count(job, status)
        return True

    def _count(self, job: FinetuneJob, status: FinetuneJobStatus) -> None:
        if is_finished(job.status):  # it runs anew
            return
        if status.attempt > job.status.attempt > 0:
            reason = next((c.reason for c in status.conditions if c.type == "Training"), "")
            self.telemetry.attempts.labels(job.metadata.namespace, reason).inc()
        if is_finished(status) and status.phase is not None:
            seconds = seconds_since(parse_time(status.start_time), self.now())
            self.telemetry.job_seconds.labels(status.phase.value).observe(seconds)

    async def _change(self, job: FinetuneJob, change: ClaimChange) -> None:
        """Change the claim made for the job; one that may not be changed so stays as it is, and that is told."""
        refusal = ""
        try:
            await self.cluster.patch(change.patch)
        except ApiError as error:
            if error.status != FORBIDDEN and not error.is_rejection:
                raise
            refusal = error.message
        self.cache.note_claim(job.metadata.uid, ClaimAnswer(state=change.state, refusal=refusal))

    async def _remove(self, job: FinetuneJob, deletion: Deletion) -> bool:
        """Delete a child; False if there was none. One that is known by its name alone is looked at first."""
        kind, namespace = CHILDREN[deletion.kind], job.metadata.namespace
        self.known.forget(job.metadata.uid)
        if not deletion.uid:
            found = await self.cluster.read(kind, namespace, deletion.name)
            metadata = found["metadata"] if found is not None else {}
            is_own = (metadata.get("labels") or {}).get(keys.LABEL_JOB_UID) == job.metadata.uid
            if not is_own or "deletionTimestamp" in metadata:
                return False
            deletion = replace(deletion, uid=metadata["uid"])
        was_there = await self.cluster.delete(namespace, deletion)
        if not was_there:  # the watch has lost its end
            self.cache.drop(kind, deletion.uid)
        return was_there

    async def _make(self, job: FinetuneJob, manifest: Manifest) -> bool | None:
        """Create a child unless it is there; True if it was created, None if its name is not free yet."""
        kind, metadata = CHILDREN[manifest["kind"]], manifest["metadata"]
        if self.known.has(job.metadata.uid, manifest):
            return False
        if metadata["labels"].get(keys.LABEL_ROLE) == Role.TRAIN and await self._older_ranks(job, metadata):
            return None
        try:
            made = await self.cluster.create(manifest)
        except ApiError as error:
            if error.status == CONFLICT:
                return await self._adopt(job, manifest, error)
            self._note_rejection(job, manifest, error)
            return None
        if kind in (JOB, POD):
            self.cache.put(kind, made)
            self._expect(kind, made)
        else:
            self.known.note(job.metadata.uid, manifest)
        return True

    async def _rehearse(self, job: FinetuneJob, manifests: tuple[Manifest, ...]) -> bool:
        """Show later children to the API server; False if it refuses one for good."""
        for manifest in manifests:
            if self.rehearsed.has(job, manifest):
                continue
            try:
                await self.cluster.create(manifest, is_rehearsal=True)
            except ApiError as error:
                if error.status == CONFLICT:  # that its name is taken is told when it is made
                    continue
                if manifest["kind"] == POD.name and error.is_about_quota:
                    continue  # what is used up now may be free when the pod is made
                self._note_rejection(job, manifest, error)
                return False
            self.rehearsed.note(job, manifest)
        return True

    def _note_rejection(self, job: FinetuneJob, manifest: Manifest, error: ApiError) -> None:
        text = f"{manifest['kind']} {manifest['metadata']['name']}: {error.message}"
        if error.is_rejection and not is_true(job.status, ConditionType.VALIDATED):
            self.cache.note_rejection(job.metadata.uid, text)
            return
        if error.is_refusal or error.is_rejection:  # of what was taken before, so that it may be taken again
            self.cache.note_obstacle(job.metadata.uid, f"the API server does not make {text}")
        raise error

    async def _adopt(self, job: FinetuneJob, manifest: Manifest, error: ApiError) -> bool | None:
        """Look at what has a child's name: False if it is that child, None if it is going away."""
        kind, metadata = CHILDREN[manifest["kind"]], manifest["metadata"]
        found = await self.cluster.read(kind, metadata["namespace"], metadata["name"])
        if found is None:  # it has just gone, or the conflict was another one, as over a quota
            raise error
        owners = [owner.get("uid") for owner in found["metadata"].get("ownerReferences") or ()]
        if kind == CLAIM:  # it has no owner while it holds what is needed
            owners.append((found["metadata"].get("labels") or {}).get(keys.LABEL_JOB_UID))
        if job.metadata.uid not in owners:
            text = f"{manifest['kind']} {metadata['name']} belongs to somebody else; remove it"
            self.cache.note_obstacle(job.metadata.uid, text)
            raise NameTakenError(text)
        if found["metadata"].get("deletionTimestamp"):
            return None
        if kind in (JOB, POD):
            self.cache.put(kind, found)
        else:
            self.known.note(job.metadata.uid, manifest)
        return False

    async def _older_ranks(self, job: FinetuneJob, metadata: dict[str, Any]) -> bool:
        """Tell whether pods of another attempt live, by a live list: two gangs must never share a volume."""
        uid = job.metadata.uid
        if metadata["labels"][keys.LABEL_ATTEMPT] == "1":  # there was none before
            return False
        pods = self._live_pods(job, f"{keys.LABEL_JOB_UID}={uid},{keys.LABEL_ROLE}={Role.TRAIN.value}")
        attempt = metadata["labels"][keys.LABEL_ATTEMPT]
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

    def _expect(self, kind: Kind, manifest: Manifest) -> None:
        self.freshness.expect(kind.name, int(manifest["metadata"].get("resourceVersion") or 0))

    async def _post(self, job: FinetuneJob, event: Event) -> None:
        """Post an Event; one that cannot be posted is no reason to do anything again."""
        try:
            await self.cluster.post_event(job, event, instance=self.instance, now=self.now())
        except ApiError as error:
            logger.warning("an Event was not posted", extra={**_fields(job), "error": str(error)})

    def _report(self, job: FinetuneJob, decision: Decision) -> None:
        status = decision.status
        logger.info(
            "reconciled",
            extra={
                **_fields(job),
                "phase": status.phase.value if status.phase else "",
                "attempt": status.attempt,
                "applied": [f"{item['kind']}/{item['metadata']['name']}" for item in decision.apply],
                "deleted": [f"{item.kind}/{item.name}" for item in decision.delete],
                "events": [event.reason for event in decision.events],
            },
        )


def _fields(job: FinetuneJob) -> dict[str, str]:
    return {"namespace": job.metadata.namespace, "job": job.metadata.name, "uid": job.metadata.uid}
