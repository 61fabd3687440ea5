"""A wire from the operator's own client to a world, which notes what RBAC would be asked for each request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Never

import aiohttp

from finetune_api.status import FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Deletion, Event
from finetune_operator.shell.kinds import CHILDREN, CORE_EVENT, FINETUNE_JOB, WORKLOADS, Kind
from finetune_operator.shell.wire import NOT_FOUND, UNREACHABLE, ApiError, Call
from tests.operator.given import T0
from tests.operator.world import Object, World

KINDS = {kind.plural: kind for kind in (*CHILDREN.values(), CORE_EVENT, FINETUNE_JOB, *WORKLOADS)}
VERBS = {"GET": "get", "LIST": "list", "WATCH": "watch", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
Right = tuple[str, str]
"""GROUP/RESOURCE and verb."""


@dataclass
class Noting:
    """Stands for `Wire`."""

    world: World
    used: set[Right] = field(default_factory=set)

    async def request(self, call: Call) -> Object:
        self._note(call)
        kind, body = KINDS[call.resource.partition("/")[0]], call.body or {}
        namespace, _, rest = call.path.partition("/namespaces/")[2].partition("/")
        name = rest.partition("/")[2].partition("/")[0]
        match call.action:
            case "LIST":
                return await self._list(kind, call.query.get("labelSelector", ""))
            case "GET":
                return await self.world.read(kind, namespace, name) or _missing(call)
            case "POST":
                return await self._create(call, body)
            case "PATCH":
                return await self._patch(call, body)
        uid, is_forced = body.get("preconditions", {}).get("uid", ""), "gracePeriodSeconds" in body
        deletion = Deletion(kind=kind.name, name=name, uid=uid, is_forced=is_forced)
        return {} if await self.world.delete(namespace, deletion) else _missing(call)

    @asynccontextmanager
    async def open(self, call: Call, _: aiohttp.ClientTimeout) -> AsyncIterator[Any]:
        """Note a watch, and end it."""
        self._note(call)
        raise ApiError(call, UNREACHABLE, "ended")
        yield

    def _note(self, call: Call) -> None:
        parts = call.path.strip("/").split("/")
        group = "" if parts[0] == "api" else parts[1]
        self.used.add((f"{group}/{call.resource}", VERBS[call.action]))

    async def _list(self, kind: Kind, selector: str) -> Object:
        items = [item async for page in self.world.pages(kind, selector=selector) for item in page.items]
        return {"items": items, "metadata": {"resourceVersion": str(self.world.version)}}

    async def _create(self, call: Call, body: Object) -> Object:
        if call.resource != "events":
            return await self.world.create(body, is_rehearsal="dryRun" in call.query)
        event = Event(kind=body["type"], reason=body["reason"], note=body["note"], action=body["action"])
        await self.world.post_event(self.world.job, event, instance="", now=T0)
        return body

    async def _patch(self, call: Call, body: Object) -> Object:
        if call.resource != "finetunejobs/status":
            await self.world.patch(body)
            return body
        stored = deepcopy(self.world.all(FINETUNE_JOB)[0])
        stored["metadata"]["resourceVersion"] = body["metadata"]["resourceVersion"]
        job = FinetuneJob.model_validate(stored)
        return await self.world.apply_status(job, FinetuneJobStatus.model_validate(body["status"]))


def _missing(call: Call) -> Never:
    raise ApiError(call, NOT_FOUND, "not found")
