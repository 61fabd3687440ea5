"""The API server: reads, lists, server-side apply, deletes and Events. Every error comes out as ApiError."""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from finetune_api.keys import FIELD_MANAGER
from finetune_api.status import FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Deletion, Event, Manifest
from finetune_operator.core.observed import Notice
from finetune_operator.core.times import parse_time
from finetune_operator.shell.kinds import CHILDREN, CORE_EVENT, EVENT, FINETUNE_JOB, Kind

REQUEST_SECONDS = 30
PAGE_SIZE = 500
FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
REJECTED = (400, 422)
UNTYPED = "failed to create typed patch object"  # an unknown field in an applied object comes as a 500
UNREACHABLE = 0


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Manifest | None = None
    content: str = "application/json"
    verb: str = ""


class ApiError(Exception):
    """The API server said no, or did not answer (status 0)."""

    def __init__(self, call: Call, status: int, message: str) -> None:
        super().__init__(f"{call.verb or call.method} {call.path}: {status} {message}")
        self.status = status
        self.message = message

    @property
    def is_rejection(self) -> bool:
        """Tell whether the API server understood and will never agree."""
        return self.status in REJECTED or UNTYPED in self.message


async def connect() -> client.ApiClient:
    """Return a client for the cluster that this process runs in, or for the one that KUBECONFIG names."""
    configuration = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(client_configuration=configuration)
    return client.ApiClient(configuration)


class NameTakenError(Exception):
    """A child's name is taken by an object of somebody else."""


class Cluster:
    """One API server. `on_answer(verb, status)` is told of every answer, for metrics."""

    def __init__(self, api: client.ApiClient, *, on_answer: Callable[[str, int], None] = lambda *_: None) -> None:
        self._api = api
        self._on_answer = on_answer

    @property
    def api(self) -> client.ApiClient:
        """The client, for what the library does by itself."""
        return self._api

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def read(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return one object as it is now, or None."""
        try:
            return await self._request(Call(method="GET", path=kind.path(namespace, name)))
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def apply(self, manifest: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        """Make an object so, by server-side apply; return it as the server keeps it, or would keep it."""
        metadata = manifest["metadata"]
        path = CHILDREN[manifest["kind"]].path(metadata["namespace"], metadata["name"])
        return await self._apply(path, manifest, is_rehearsal=is_rehearsal)

    async def apply_status(self, job: FinetuneJob, status: FinetuneJobStatus) -> Manifest:
        """Write the status if the job is still as it was read; ApiError 409 if not."""
        metadata = job.metadata
        body = {
            "apiVersion": FINETUNE_JOB.api_version,
            "kind": FINETUNE_JOB.name,
            "metadata": {"name": metadata.name, "uid": metadata.uid, "resourceVersion": metadata.resource_version},
            "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        return await self._apply(FINETUNE_JOB.path(metadata.namespace, metadata.name, subresource="status"), body)

    async def _apply(self, path: str, body: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        query = {"fieldManager": FIELD_MANAGER, "force": "true"} | ({"dryRun": "All"} if is_rehearsal else {})
        content = "application/apply-patch+yaml"
        return await self._request(Call(method="PATCH", path=path, query=query, body=body, content=content))

    async def delete(self, namespace: str, deletion: Deletion) -> None:
        """Remove an object with all it owns; one that is gone, or another of the same name, is no error."""
        body: Manifest = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        if deletion.uid:
            body["preconditions"] = {"uid": deletion.uid}
        if deletion.is_forced:
            body |= {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        try:
            path = CHILDREN[deletion.kind].path(namespace, deletion.name)
            await self._request(Call(method="DELETE", path=path, body=body))
        except ApiError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise

    async def list_all(self, kind: Kind, namespace: str = "", *, selector: str = "") -> tuple[list[Manifest], int]:
        """Return all objects of a kind, and the resource version they were listed at."""
        items: list[Manifest] = []
        version = 0
        async for page in self._pages(kind, namespace, selector=selector or kind.selector):
            items += page["items"]
            version = int(page["metadata"].get("resourceVersion") or 0)
        return items, version

    async def _pages(self, kind: Kind, namespace: str, *, selector: str) -> AsyncIterator[Manifest]:
        query = {"limit": str(PAGE_SIZE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._request(Call(method="GET", path=kind.path(namespace), query=query, verb="LIST"))
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def events_about(self, namespace: str, uid: str) -> list[Notice]:
        """Return the Events about an object, oldest first."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": str(PAGE_SIZE)}
        page = await self._request(Call(method="GET", path=CORE_EVENT.path(namespace), query=query, verb="LIST"))
        return [
            Notice(
                message=item.get("message") or "",
                is_warning=item.get("type") == "Warning",
                seen_at=parse_time(_last_seen(item) or None),
            )
            for item in sorted(page["items"], key=_last_seen)
        ]

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
        await self._request(Call(method="POST", path=EVENT.path(metadata.namespace), body=body))

    async def _request(self, call: Call) -> Manifest:
        status, data = UNREACHABLE, b""
        headers = {"Accept": "application/json", "Content-Type": call.content}
        try:
            request = await self._api.param_serialize(
                call.method, call.path, {}, list(call.query.items()), headers, call.body, auth_settings=["BearerToken"]
            )
            response = await self._api.call_api(*request, _request_timeout=REQUEST_SECONDS)
            data = await response.read()
            status = response.status
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(call, UNREACHABLE, str(error) or type(error).__name__) from error
        finally:
            self._on_answer(call.verb or call.method, status)
        answer = _parse(data)
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP success
            raise ApiError(call, status, str(answer.get("message", "")))
        return answer


def _last_seen(event: Manifest) -> str:
    """Return when an Event happened last; the two APIs of Events keep it in different places."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def _parse(data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except ValueError:
        return {"message": data[:200].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {}
