"""The API server: reads, lists, creates, deletes, statuses and Events. Every error comes out as ApiError."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from finetune_api import keys
from finetune_api.keys import FIELD_MANAGER
from finetune_api.status import FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Deletion, Event, Manifest
from finetune_operator.core.observed import Notice
from finetune_operator.core.times import parse_time
from finetune_operator.shell.kinds import CHILDREN, CORE_EVENT, EVENT, FINETUNE_JOB, WORKLOADS, Kind
from finetune_operator.shell.wire import (
    APPLY,
    CONFLICT,
    CONNECT_SECONDS,
    FORBIDDEN,
    NOT_FOUND,
    OK,
    UNREACHABLE,
    ApiError,
    Call,
    Wire,
    parse,
)

#: A watch is opened anew after so many seconds; it is told something at least once a minute, by a bookmark.
WATCH_SECONDS = 300
SILENT_SECONDS = 90
#: A Pod has up to 30 KiB of JSON, which are 150 KiB as dictionaries: a page of Pods takes less than 10 MB.
PAGE_SIZE = 50
MAX_EVENTS = 500
#: Conditions of a Workload by which its Job has no pods. While pods still go, one that is preempted keeps its quota.
HELD_BACK = {"QuotaReserved": "False", "Admitted": "False", "Evicted": "True"}


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the objects of a list, and the resource version of the whole list."""

    items: list[Manifest]
    version: int


class NameTakenError(Exception):
    """A child's name is taken by an object of somebody else."""


class Cluster:
    """One API server, asked over a wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def read(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return one object as it is now, or None."""
        return await self._find(Call(method="GET", path=kind.path(namespace, name)))

    async def _find(self, call: Call) -> Manifest | None:
        try:
            return await self._wire.request(call)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def has(self, kind: Kind) -> bool:
        """Tell whether the API server knows the kind."""
        group = await self._find(Call(method="GET", path=kind.group_path))
        return any(resource["name"] == kind.plural for resource in (group or {}).get("resources", ()))

    async def openapi(self, group: str, version: str) -> Manifest:
        """Return the OpenAPI document of a group, which everybody who may log in may read."""
        return await self._wire.request(Call(method="GET", path=f"/openapi/v3/apis/{group}/{version}"))

    async def create(self, manifest: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        """Make an object; return it as the server keeps it, or would keep it. ApiError 409: its name is taken."""
        path = CHILDREN[manifest["kind"]].path(manifest["metadata"]["namespace"])
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if is_rehearsal else {}
        return await self._wire.request(Call(method="POST", path=path, query=query, body=manifest))

    async def patch(self, manifest: Manifest) -> None:
        """Change what the manifest names of an object that is there; one that is gone is no error."""
        metadata = manifest["metadata"]
        path = CHILDREN[manifest["kind"]].path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER}
        content = "application/strategic-merge-patch+json"
        try:
            await self._wire.request(Call(method="PATCH", path=path, query=query, body=manifest, content=content))
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise

    async def apply_status(self, job: FinetuneJob, status: FinetuneJobStatus) -> Manifest:
        """Write the status if the job is still as it was read; ApiError 409 if not."""
        metadata = job.metadata
        body = {
            "apiVersion": FINETUNE_JOB.api_version,
            "kind": FINETUNE_JOB.name,
            "metadata": {"name": metadata.name, "uid": metadata.uid, "resourceVersion": metadata.resource_version},
            "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        path = FINETUNE_JOB.path(metadata.namespace, metadata.name, subresource="status")
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._wire.request(Call(method="PATCH", path=path, query=query, body=body, content=APPLY))

    async def delete(self, namespace: str, deletion: Deletion) -> bool:
        """Remove an object with all it owns; False if it was gone, or another has its name by now."""
        body: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        if deletion.uid:
            body["preconditions"] = {"uid": deletion.uid}
        if deletion.is_forced:
            body |= {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        try:
            path = CHILDREN[deletion.kind].path(namespace, deletion.name)
            await self._wire.request(Call(method="DELETE", path=path, body=body))
        except ApiError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise
            return False
        return True

    async def pages(self, kind: Kind, namespace: str = "", *, selector: str = "") -> AsyncIterator[Page]:
        """Yield all objects of a kind, a few at a time: as manifests, thousands of them do not fit into memory."""
        query = {"limit": str(PAGE_SIZE)}
        if selector or kind.selector:
            query["labelSelector"] = selector or kind.selector
        while True:
            call = Call(method="GET", path=kind.path(namespace), query=query, verb="LIST")
            answer = await self._wire.request(call)
            if "items" not in answer:
                raise ApiError(call, OK, "the answer is no list; something stands between operator and API server")
            token = answer["metadata"].get("continue")
            yield Page(answer.pop("items"), int(answer["metadata"].get("resourceVersion") or 0))
            if not token:
                return
            query["continue"] = token

    async def watch(self, kind: Kind, namespace: str = "", *, version: int) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield (change, object) of everything that happens after `version`, until the API server ends the watch.

        Raises ApiError with status 410 once the API server does not know any more what happened then: list again.
        """
        query = {"watch": "true", "resourceVersion": str(version), "allowWatchBookmarks": "true"}
        query["timeoutSeconds"] = str(WATCH_SECONDS)
        if kind.selector:
            query["labelSelector"] = kind.selector
        call = Call(method="GET", path=kind.path(namespace), query=query, verb="WATCH")
        patience = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
        async with self._wire.open(call, patience) as response:
            try:
                async for line in _lines(response.content):
                    event = parse(line)
                    if event.get("type") == "ERROR":
                        error = event.get("object") or {}
                        raise ApiError(call, int(error.get("code") or 0), str(error.get("message")))
                    if "object" in event:
                        yield event["type"], event["object"]
            except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
                raise ApiError(call, UNREACHABLE, str(error) or type(error).__name__) from error

    async def events_about(self, namespace: str, uid: str) -> list[Notice]:
        """Return the Events about an object, oldest first."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": str(MAX_EVENTS)}
        page = await self._wire.request(Call(method="GET", path=CORE_EVENT.path(namespace), query=query, verb="LIST"))
        return [
            Notice(
                message=item.get("message") or "",
                is_warning=item.get("type") == "Warning",
                seen_at=parse_time(_last_seen(item) or None),
            )
            for item in sorted(page["items"], key=_last_seen)
        ]

    async def queue_words(self, namespace: str, job_uid: str) -> str:
        """Return why Kueue does not admit a Job; empty if it does not say, must not be asked or is not there."""
        for kind in WORKLOADS:
            query = {"labelSelector": f"{keys.LABEL_KUEUE_JOB}={job_uid}"}
            try:
                page = await self._wire.request(Call(method="GET", path=kind.path(namespace), query=query, verb="LIST"))
            except ApiError as error:
                if error.status not in (NOT_FOUND, FORBIDDEN):
                    raise
                continue
            conditions = [one for item in page["items"] for one in (item.get("status") or {}).get("conditions") or ()]
            refused = [one for one in conditions if one["status"] == HELD_BACK.get(one["type"])]
            return next((str(one.get("message") or "") for one in refused), "")
        return ""

    async def post_event(self, job: FinetuneJob, event: Event, *, instance: str, now: datetime) -> None:
        """Post one Event about the job."""
        metadata = job.metadata
        digest = hashlib.sha256(repr((metadata.uid, event, now)).encode()).hexdigest()[:16]
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{metadata.name}.{digest}", "namespace": metadata.namespace},
            "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": FIELD_MANAGER,
            "reportingInstance": instance[:128],
            "type": event.kind,
            "reason": event.reason,
            "action": event.action,
            "note": event.note,
            "regarding": {
                "apiVersion": FINETUNE_JOB.api_version,
                "kind": FINETUNE_JOB.name,
                "namespace": metadata.namespace,
                "name": metadata.name,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
        }
        await self._wire.request(Call(method="POST", path=EVENT.path(metadata.namespace), body=body))


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, however long they are: a manifest may have more than a megabyte."""
    parts: list[bytes] = []
    async for chunk in stream.iter_any():
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield b"".join([*parts, line])
            parts.clear()
        parts.append(rest)


def _last_seen(event: Manifest) -> str:
    """Return when an Event happened last; the two APIs of Events keep it in different places."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
