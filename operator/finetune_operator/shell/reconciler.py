"""One look at one job: observe, decide, act. Never run twice at once for the same job."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import ValidationError

from finetune_api.problem import Problem
from finetune_api.problems import parse_job
from finetune_api.status import FinetuneJobStatus, Phase
from finetune_api.types import FinetuneJob
from finetune_operator.core.decide import decide
from finetune_operator.core.decision import Decision, Event, Manifest
from finetune_operator.core.observed import Observed
from finetune_operator.core.phases import is_finished
from finetune_operator.core.platform import Platform
from finetune_operator.core.refusing import refuse, without_spec
from finetune_operator.core.times import parse_time, seconds_since
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster, NameTakenError
from finetune_operator.shell.freshness import Freshness
from finetune_operator.shell.inquiry import Inquiry
from finetune_operator.shell.kinds import CLAIM, FINETUNE_JOB
from finetune_operator.shell.known import Known
from finetune_operator.shell.maker import Maker
from finetune_operator.shell.pace import Pace
from finetune_operator.shell.telemetry import Telemetry
from finetune_operator.shell.wire import NOT_FOUND, UNREACHABLE, ApiError
from finetune_operator.shell.writers import Writers

logger = logging.getLogger(__name__)
BUSY_NAME_SECONDS = 2.0
#: Phases in which a pod is asked how far it is.
TELLING = (Phase.PREPARING, Phase.TRAINING)


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Acts on decisions, in the order that `Decision` demands."""

    cache: Cache
    cluster: Cluster
    inquiry: Inquiry
    maker: Maker
    freshness: Freshness
    telemetry: Telemetry
    platform: Platform
    instance: str
    """Name of this pod, for Events."""
    now: Callable[[], datetime]
    pace: Pace
    known: Known
    writers: Writers = field(default_factory=Writers)

    async def reconcile(self, uid: str) -> float | None:
        """Look at the job once; return the seconds after which to look again, None for no time of its own.

        Raises ApiError if the API server did not do as asked; trying again later is then right.
        """
        manifest = self.cache.job(uid)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            self.forget(uid)
            return None  # children go by their owner references
        parsed = parse_job(manifest)
        if isinstance(parsed, list):
            refused = self._refuse(manifest, parsed)
            if refused is None:
                return None
            job, decision = refused
        else:
            job = parsed
            is_first = job.status.phase in TELLING and job.status.progress is None
            wait = self.pace.seconds_to_due(uid, is_first=is_first)
            observed = replace(await self._observe(job), seconds_to_progress=wait)
            decision = decide(job, observed, self.now(), platform=self.platform)
        return await self._act(job, decision)

    async def _observe(self, job: FinetuneJob) -> Observed:
        if not is_finished(job.status):
            return await self.inquiry.look(job)
        self.forget(job.metadata.uid)
        return self.cache.observe(job.metadata.uid)

    def forget(self, uid: str) -> None:
        """Remember nothing of a job that has ended or is gone."""
        for memory in (self.known, self.inquiry, self.pace):
            memory.forget(uid)

    def _refuse(self, manifest: Manifest, problems: list[Problem]) -> tuple[FinetuneJob, Decision] | None:
        """Return what can be read of the job, and its refusal; None if not even its status can be read."""
        self.cache.note_unreadable(FINETUNE_JOB, manifest, "; ".join(str(problem) for problem in problems))
        try:
            job = without_spec(manifest)
        except ValidationError:
            return None
        return job, refuse(job, problems, self.now(), platform=self.platform)

    async def _act(self, job: FinetuneJob, decision: Decision) -> float | None:
        has_new_status = decision.status != job.status
        # A claim goes by the newest version of its job alone: whoever was frozen may not know that it runs anew.
        is_decided_anew = has_new_status or any(one.kind == CLAIM.name for one in decision.delete)
        if is_decided_anew and not await self._write_status(job, decision.status):
            return None
        for event in decision.events:
            await self._post(job, event)
        if decision.change is not None:
            await self.maker.change(job, decision.change)
        has_removed = await self.maker.remove(job, decision.delete)
        if not await self.maker.rehearse(job, decision.rehearse):
            return 0.0
        made = [await self.maker.make(job, manifest) for manifest in decision.apply]
        await self._try(job, decision.optional)
        self.cache.note_obstacle(job.metadata.uid, "")
        is_changed = has_new_status or has_removed or any(made)
        self.telemetry.reconciles.labels("changed" if is_changed else "unchanged").inc()
        if is_changed:
            self._report(job, decision)
        if any(one is None for one in made):
            return BUSY_NAME_SECONDS
        # Nothing else may tell of what was done just now, and the next step may wait for nothing else.
        return 0.0 if has_new_status or any(made) else decision.requeue_after

    async def _try(self, job: FinetuneJob, manifests: tuple[Manifest, ...]) -> None:
        """Make what nothing waits for; the next look tries again."""
        try:
            for manifest in manifests:
                await self.maker.make(job, manifest)
        except (ApiError, NameTakenError) as error:
            logger.warning("a child that nothing waits for was not made", extra={**_fields(job), "error": str(error)})

    async def _write_status(self, job: FinetuneJob, status: FinetuneJobStatus) -> bool:
        """Write the status; False if the job is gone."""
        uid = job.metadata.uid
        is_progress = status.phase == job.status.phase and status.phase in TELLING
        try:
            with self.writers.writing(uid), self.pace.writing(uid, is_progress=is_progress):
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
        watch = self.freshness.watch_of(FINETUNE_JOB.name, job.metadata.namespace)
        self.freshness.expect(watch, int(written["metadata"]["resourceVersion"]))
        if status.progress not in (None, job.status.progress):
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
