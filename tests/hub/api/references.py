"""Branches and tags."""

from typing import Any

from aiohttp import web

from tests.hub.context import hub, json_object, readable_repository, writable_repository
from tests.hub.errors import bad_request, conflict, forbidden, revision_not_found
from tests.hub.names import check_reference_name

routes = web.RouteTableDef()


@routes.get("/api/{kinds:models|datasets}/{owner}/{name}/refs")
async def refs(request: web.Request) -> web.Response:
    repository = readable_repository(request)
    shown: dict[str, Any] = {
        "branches": _views("refs/heads", repository.branches),
        "converts": [],
        "tags": _views("refs/tags", repository.tags),
    }
    if "include_prs" in request.query:
        shown["pullRequests"] = []
    return web.json_response(shown)


@routes.post("/api/{kinds:models|datasets}/{owner}/{name}/tag/{revision}")
async def create_tag(request: web.Request) -> web.Response:
    body = await json_object(request)
    repository = writable_repository(request)
    if not isinstance(body.get("tag"), str):
        raise bad_request('"tag" is required')
    tag, commit = check_reference_name(body["tag"]), repository.resolve(request.match_info["revision"])
    if tag in repository.tags:
        raise conflict("Tag reference exists already")
    repository.tags[tag] = commit.oid
    hub(request).store.save(repository)
    return web.Response(text="OK")


@routes.delete("/api/{kinds:models|datasets}/{owner}/{name}/tag/{tag}")
async def delete_tag(request: web.Request) -> web.Response:
    repository = writable_repository(request)
    tag = request.match_info["tag"]
    if tag not in repository.tags:
        raise revision_not_found(tag)
    del repository.tags[tag]
    hub(request).store.save(repository)
    return web.Response(text="OK")


@routes.post("/api/{kinds:models|datasets}/{owner}/{name}/branch/{branch}")
async def create_branch(request: web.Request) -> web.Response:
    body = await json_object(request)
    repository = writable_repository(request)
    branch = check_reference_name(request.match_info["branch"])
    start = repository.resolve(body.get("startingPoint") or "main")
    if branch in repository.branches:
        raise conflict(f"Reference already exists: refs/heads/{branch}")
    repository.branches[branch] = start.oid
    hub(request).store.save(repository)
    return web.Response(text="OK")


@routes.delete("/api/{kinds:models|datasets}/{owner}/{name}/branch/{branch}")
async def delete_branch(request: web.Request) -> web.Response:
    repository = writable_repository(request)
    branch = request.match_info["branch"]
    if branch == "main":
        raise forbidden("Cannot delete refs/heads/main")
    if branch not in repository.branches:
        raise revision_not_found(branch)
    del repository.branches[branch]
    hub(request).store.save(repository)
    return web.Response(text="OK")


def _views(prefix: str, references: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "ref": f"{prefix}/{name}", "targetCommit": oid} for name, oid in references.items()]
