"""A FinetuneJob as the cache keeps it: small, since those that have ended stay for as long as nobody removes them."""

import json
import re
import sys
import zlib
from dataclasses import dataclass

from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, Phase
from finetune_api.types import ObjectMeta, Schedule
from finetune_operator.core import names
from finetune_operator.core.decision import Manifest
from finetune_operator.core.phases import FINISHED
from finetune_operator.core.returning import Waiter

#: What people and tools write beside an object, and nobody here reads: often more than half of it.
UNREAD_METADATA = ("managedFields", "annotations", "labels")
#: In a spec as JSON.
NAMED_CLAIM = re.compile('"(?:existingClaim":"|pvc://)([a-z0-9.-]+)')


@dataclass(frozen=True, slots=True)
class Record:
    """A FinetuneJob, as JSON: a tenth of what the same manifest takes as dictionaries."""

    namespace: str
    version: int
    phase: str
    attempt: int
    names: str
    """What the names of all its children begin with."""
    shared_folder: str
    """Claim and folder, if it names a folder of an existing claim; others may, too."""
    waiter: Waiter | None
    """Its place in the order of gangs that were given back, if its own was."""
    target: str
    """Repository and branch that it publishes to, as words; empty if to none."""
    claims: tuple[str, ...]
    """Those that its spec names, to work on or to read from."""
    text: bytes
    """Packed once the job has ended: it is read at a scrape now and then."""

    @property
    def folder(self) -> str:
        """Claim and folder that others may name and it works in, or would."""
        return self.shared_folder or f"{names.made_workspace(self.names)}/{names.WHOLE_CLAIM}"

    @property
    def is_finished(self) -> bool:
        """Tell whether the job ended, well or not."""
        return self.phase in FINISHED

    def manifest(self) -> Manifest:
        """Return the manifest anew; whoever asks may keep it."""
        found: Manifest = json.loads(zlib.decompress(self.text) if self.is_finished else self.text)
        return found


def make_record(manifest: Manifest) -> Record:
    """Return the record of a manifest; of one that cannot be read it raises whatever reading it raises."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in UNREAD_METADATA}
    status = manifest.get("status") or {}
    phase = str(status.get("phase") or "")
    text = json.dumps({**manifest, "metadata": metadata}, separators=(",", ":")).encode()
    return Record(
        namespace=sys.intern(str(metadata["namespace"])),
        version=int(metadata.get("resourceVersion") or 0),
        phase=sys.intern(phase),
        attempt=int(status.get("attempt") or 0),
        names=names.base(ObjectMeta.model_validate(metadata)),
        shared_folder=_shared_folder(manifest),
        waiter=_waiter(manifest),
        target=_target(manifest),
        claims=tuple(set(NAMED_CLAIM.findall(json.dumps(manifest.get("spec"), separators=(",", ":"))))),
        text=zlib.compress(text) if phase in FINISHED else text,
    )


def _shared_folder(manifest: Manifest) -> str:
    """Return claim and folder, if the manifest names a folder of an existing claim."""
    storage = (manifest.get("spec") or {}).get("storage") or {}
    claim, folder = storage.get("existingClaim"), storage.get("subPath")
    return f"{claim}/{folder}" if claim and folder else ""


def _waiter(manifest: Manifest) -> Waiter | None:
    """Return the place of a job whose gang was given back and is to be made again, or is not whole yet."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if status.get("phase") != Phase.QUEUED or not status.get("gangReturns"):
        return None
    schedule = manifest["spec"].get("schedule") or {}
    reasons = {one["type"]: one["reason"] for one in status.get("conditions") or ()}
    return Waiter(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=metadata.get("creationTimestamp", ""),
        times=int(status["gangReturns"]["times"]),
        timeout_seconds=int(schedule.get("gangTimeoutSeconds") or Schedule().gang_timeout_seconds),
        is_next=reasons.get(ConditionType.SUCCEEDED) == Reason.GANG_RETURNED,
    )


def _target(manifest: Manifest) -> str:
    """Return where the manifest publishes to."""
    publish = (manifest.get("spec") or {}).get("publish") or {}
    repository = publish.get("repository")
    return f"{repository}, branch {publish.get('branch', 'main')}" if repository else ""
