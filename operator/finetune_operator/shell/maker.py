"""Making and removing children: what is there is found by its name, and nothing is made that is there."""

from dataclasses import KW_ONLY, dataclass, field, replace

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.status import ConditionType
from finetune_api.types import FinetuneJob
from finetune_operator.core.conditions import is_true
from finetune_operator.core.decision import ClaimChange, Deletion, Manifest
from finetune_operator.core.observed import ClaimAnswer
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster, NameTakenError
from finetune_operator.shell.freshness import Freshness
from finetune_operator.shell.inquiry import Inquiry
from finetune_operator.shell.kinds import CHILDREN, CLAIM, JOB, POD
from finetune_operator.shell.known import Known
from finetune_operator.shell.rehearsed import Rehearsed
from finetune_operator.shell.wire import CONFLICT, FORBIDDEN, ApiError


@dataclass(frozen=True)
class Maker:
    """Puts what it makes and finds into the cache, and why something cannot be made."""

    cache: Cache
    cluster: Cluster
    _: KW_ONLY
    freshness: Freshness
    inquiry: Inquiry
    known: Known
    rehearsed: Rehearsed = field(default_factory=Rehearsed)

    async def change(self, job: FinetuneJob, change: ClaimChange) -> None:
        """Change the claim made for the job; one that may not be changed so stays as it is, and that is told."""
        refusal = ""
        try:
            await self.cluster.patch(change.patch)
        except ApiError as error:
            if error.status != FORBIDDEN and not error.is_rejection:
                raise
            refusal = error.message
        self.cache.note_claim(job.metadata.uid, ClaimAnswer(state=change.state, refusal=refusal))

    async def remove(self, job: FinetuneJob, deletions: tuple[Deletion, ...]) -> bool:
        """Delete children; False if none was there."""
        removed = [await self._remove(job, deletion) for deletion in deletions]
        self.cache.note_cleared(job.metadata.uid, is_cleared=bool(removed) and not any(removed))
        return any(removed)

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

    async def rehearse(self, job: FinetuneJob, manifests: tuple[Manifest, ...]) -> bool:
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

    async def make(self, job: FinetuneJob, manifest: Manifest) -> bool | None:
        """Create a child unless it is there; True if it was created, None if its name is not free yet."""
        kind, metadata = CHILDREN[manifest["kind"]], manifest["metadata"]
        if self.known.has(job.metadata.uid, manifest):
            return False
        is_gang = metadata["labels"].get(keys.LABEL_ROLE) == Role.TRAIN
        if is_gang and await self.inquiry.has_older_ranks(job, metadata["labels"][keys.LABEL_ATTEMPT]):
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
            watch = self.freshness.watch_of(kind.name, metadata["namespace"])
            self.freshness.expect(watch, int(made["metadata"].get("resourceVersion") or 0))
        else:
            self.known.note(job.metadata.uid, manifest)
        return True

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

    def _note_rejection(self, job: FinetuneJob, manifest: Manifest, error: ApiError) -> None:
        text = f"{manifest['kind']} {manifest['metadata']['name']}: {error.message}"
        if error.is_rejection and not is_true(job.status, ConditionType.VALIDATED):
            self.cache.note_rejection(job.metadata.uid, text)
            return
        if error.is_refusal or error.is_rejection:  # of what was taken before, so that it may be taken again
            self.cache.note_obstacle(job.metadata.uid, f"the API server does not make {text}")
        raise error
