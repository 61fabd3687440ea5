"""Calls for tests only: what was asked of the Hub, what is to go wrong, what it holds."""

from typing import Any

from aiohttp import web

from tests.hub.context import hub, json_object
from tests.hub.errors import repository_not_found
from tests.hub.faults import Fault
from tests.hub.history import Commit
from tests.hub.views import timestamp

routes = web.RouteTableDef()


@routes.get("/healthz")
async def health(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@routes.get("/_test/requests")
async def requests(request: web.Request) -> web.Response:
    return web.json_response([entry.model_dump(by_alias=True) for entry in hub(request).log.entries()])


@routes.delete("/_test/requests")
async def forget_requests(request: web.Request) -> web.Response:
    hub(request).log.clear()
    return web.json_response({})


@routes.get("/_test/faults")
async def faults(request: web.Request) -> web.Response:
    return web.json_response([fault.model_dump(by_alias=True) for fault in hub(request).faults.pending()])


@routes.post("/_test/faults")
async def add_fault(request: web.Request) -> web.Response:
    fault = Fault.model_validate(await json_object(request))
    hub(request).faults.add(fault)
    return web.json_response(fault.model_dump(by_alias=True), status=201)


@routes.delete("/_test/faults")
async def forget_faults(request: web.Request) -> web.Response:
    hub(request).faults.clear()
    return web.json_response({})


@routes.get("/_test/features")
async def features(request: web.Request) -> web.Response:
    return web.json_response(hub(request).features.state())


@routes.post("/_test/features")
async def switch_features(request: web.Request) -> web.Response:
    hub(request).features.switch(await json_object(request))
    return web.json_response(hub(request).features.state())


@routes.delete("/_test/features")
async def reset_features(request: web.Request) -> web.Response:
    hub(request).features.reset()
    return web.json_response(hub(request).features.state())


@routes.delete("/_test/repositories")
async def delete_everything(request: web.Request) -> web.Response:
    hub(request).store.clear()
    return web.json_response({})


@routes.get("/_test/commits/{kind:model|dataset}s/{owner}/{name}")
@routes.get("/_test/commits/{kind:model|dataset}/{owner}/{name}")
async def commits(request: web.Request) -> web.Response:
    wanted, owner, name = (request.match_info[key] for key in ("kind", "owner", "name"))
    repository = hub(request).store.find("dataset" if wanted == "dataset" else "model", f"{owner}/{name}")
    if repository is None:
        raise repository_not_found()
    newest_first = sorted(repository.commits.values(), key=lambda commit: commit.date, reverse=True)
    shown = {
        "private": repository.is_private,
        "branches": repository.branches,
        "tags": repository.tags,
        "commits": [_view(commit) for commit in newest_first],
    }
    return web.json_response(shown)


def _view(commit: Commit) -> dict[str, Any]:
    return {
        "oid": commit.oid,
        "parents": list(commit.parents),
        "author": commit.author,
        "date": timestamp(commit.date),
        "title": commit.title,
        "description": commit.description,
        "files": {
            path: {"size": file.size, "sha256": file.sha256, "lfs": file.is_large}
            for path, file in commit.files.items()
        },
    }
