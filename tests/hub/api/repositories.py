"""Create, look up, list, change and delete repositories."""

from typing import Any

from aiohttp import web

from tests.hub.context import caller, hub, json_object, kind, readable_repository, repo_url, writable_repository
from tests.hub.errors import HubError, bad_request, conflict, login_required
from tests.hub.history import Kind, Repository
from tests.hub.names import check_repository_name
from tests.hub.rights import check_create, readable, writable
from tests.hub.views import only, repository_view

routes = web.RouteTableDef()


@routes.post("/api/repos/create")
async def create(request: web.Request) -> web.Response:
    body = await json_object(request)
    wanted, owner, name = _named(request, body)
    creator = check_create(caller(request), wanted, owner, name)
    check_repository_name(name)
    existing = hub(request).store.find(wanted, f"{owner}/{name}")
    if existing is not None:
        answer = conflict(f"You already created this {wanted} repo")
        shown = {"error": answer.message, "url": repo_url(request, existing)}
        return web.json_response(shown, status=409, headers={"X-Error-Message": answer.message})
    private = _visibility(body) == "private"
    visibility: Any = "private" if private else "public"
    repository = hub(request).store.create(wanted, owner, name, visibility=visibility, author=creator.user.name)
    return web.json_response({"url": repo_url(request, repository), "name": repository.id, "private": private})


@routes.delete("/api/repos/delete")
async def delete(request: web.Request) -> web.Response:
    wanted, owner, name = _named(request, await json_object(request))
    store = hub(request).store
    store.delete(writable(store, wanted, f"{owner}/{name}", caller(request)))
    return web.Response(text="OK")


@routes.get("/api/{kinds:models|datasets}")
async def list_all(request: web.Request) -> web.Response:
    author, search = request.query.get("author"), request.query.get("search", "").lower()
    found = [
        _view(request, repository)
        for repository in hub(request).store.all(kind(request))
        if author in {None, repository.owner} and search in repository.id.lower() and _is_visible(request, repository)
    ]
    return web.json_response(found[: int(request.query.get("limit", 1000))])


@routes.get("/api/{kinds:models|datasets}/{owner}/{name}")
@routes.get("/api/{kinds:models|datasets}/{owner}/{name}/revision/{revision}")
async def info(request: web.Request) -> web.Response:
    return web.json_response(_view(request, readable_repository(request)))


@routes.put("/api/{kinds:models|datasets}/{owner}/{name}/settings")
async def change_settings(request: web.Request) -> web.Response:
    body = await json_object(request)
    repository = writable_repository(request)
    if "gated" in body and body["gated"] not in {"auto", "manual", False}:
        raise bad_request('"gated" must be one of ["auto", "manual", false]')
    if "gated" in body:
        repository.gated = body["gated"]
    if "visibility" in body or "private" in body:
        repository.visibility = "private" if _visibility(body) == "private" else "public"
    hub(request).store.save(repository)
    return web.json_response(
        {"private": repository.is_private, "gated": repository.gated, "visibility": repository.visibility}
    )


@routes.post("/api/{kinds:models|datasets}/{owner}/{name}/user-access-request/grant")
async def grant(request: web.Request) -> web.Response:
    body = await json_object(request)
    repository = writable_repository(request)
    repository.granted.add(str(body.get("user")))
    hub(request).store.save(repository)
    return web.json_response({})


def _named(request: web.Request, body: dict[str, Any]) -> tuple[Kind, str, str]:
    """Return kind, owner and name from a body of `repos/create` or `repos/delete`; the owner defaults to the caller."""
    found = caller(request)
    if found is None:
        raise login_required()
    if body.get("type") not in {None, "model", "dataset"}:
        raise bad_request(f"Repositories of type {body['type']} are not supported here")
    if not isinstance(body.get("name"), str):
        raise bad_request('"name" is required')
    wanted: Kind = "dataset" if body.get("type") == "dataset" else "model"
    return wanted, body.get("organization") or found.user.name, body["name"]


def _visibility(body: dict[str, Any]) -> str:
    visibility = body.get("visibility") or ("private" if body.get("private") else "public")
    if visibility not in {"public", "private"}:
        raise bad_request('"visibility" must be one of ["public", "private"]')
    return str(visibility)


def _is_visible(request: web.Request, repository: Repository) -> bool:
    try:
        readable(hub(request).store, repository.kind, repository.id, caller(request))
    except HubError:
        return False
    return True


def _view(request: web.Request, repository: Repository) -> dict[str, Any]:
    revision = request.match_info.get("revision")
    commit = repository.head if revision is None else repository.resolve(revision)
    blobs = request.query.get("blobs", "").lower() in {"true", "1"}
    view = repository_view(repository, commit, objects=hub(request).store.objects, with_blobs=blobs)
    return only(view, [*request.query.getall("expand", []), *request.query.getall("expand[]", [])])
