"""What FinetuneJobs mean to each other: they share a folder, a claim or a target, or wait for the same nodes.

Found by what they have in common: looking through all of them for each look at one would cost a thousand jobs a million
comparisons.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from finetune_api.status import Phase
from finetune_operator.core import names
from finetune_operator.core.returning import find_ahead
from finetune_operator.core.sharing import Claimant, find_holder
from finetune_operator.shell.family import Family, claimant
from finetune_operator.shell.record import Record

Key = tuple[str, ...]
WAITING: Key = ("waits",)


@dataclass
class Neighbours:
    """Families, by what others may have in common with them."""

    families: Mapping[str, Family]
    _uids: defaultdict[Key, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def moved(self, uid: str, old: Record | None, new: Record | None) -> None:
        """Note that a FinetuneJob has come, is another now, or is gone."""
        before, after = _keys(old), _keys(new)
        for key in before - after:
            del self._uids[key][uid]
            if not self._uids[key]:
                del self._uids[key]
        for key in after - before:
            self._uids[key][uid] = None

    def workspace_holder(self, uid: str, job: Record) -> Claimant | None:
        """Return who has the folder of an existing claim that the job names, or is to have it first."""
        if not job.shared_folder:
            return None
        others = [claimant(other, record) for other, record in self._others(uid, _folder(job))]
        return find_holder(claimant(self.families[uid], job), others) if others else None

    def gang_ahead(self, uid: str, job: Record, now: datetime) -> str:
        """Return the name of the job whose gang is made before that of this one, which was given back."""
        if job.waiter is None:
            return ""
        others = ((one.waiter, other.gang(one.attempt)) for other, one in self._others(uid, WAITING) if one.waiter)
        return find_ahead(job.waiter, others, now)

    def rival(self, uid: str, job: Record) -> str:
        """Return who publishes to where this job will, which has not begun, in words."""
        if not job.target or job.phase not in ("", Phase.PENDING):
            return ""
        for _, rival in self._others(uid, _target(job)):
            is_near = rival.namespace == job.namespace
            name = f"FinetuneJob {rival.manifest()['metadata']['name']}"
            return f"{name if is_near else 'a FinetuneJob of another namespace'} publishes to {job.target}, too"
        return ""

    def is_claim_shared(self, uid: str, job: Record) -> bool:
        """Tell whether another job names the claim that was made for this one, which has ended."""
        claim = _claim(job, names.made_workspace(job.names))
        return job.is_finished and any(True for _ in self._others(uid, claim))

    def _others(self, uid: str, key: Key) -> Iterator[tuple[Family, Record]]:
        """Yield those that have come to a key, whoever has first."""
        for other in self._uids.get(key, ()):
            family = self.families[other]
            if other != uid and family.job is not None:
                yield family, family.job


def _keys(job: Record | None) -> set[Key]:
    if job is None:
        return set()
    found = {_folder(job), *(_claim(job, claim) for claim in job.claims)}
    if job.target and not job.is_finished:
        found.add(_target(job))
    if job.waiter is not None:
        found.add(WAITING)
    return found


def _folder(job: Record) -> Key:
    return ("folder", job.namespace, job.folder)


def _claim(job: Record, name: str) -> Key:
    return ("claim", job.namespace, name)


def _target(job: Record) -> Key:
    return ("target", job.target)
