"""List the files of a commit."""

import json
from typing import Any

from aiohttp import web
from yarl import URL

from tests.hub.context import base_url, hub, readable_repository
from tests.hub.errors import HubError, bad_request, entry_not_found
from tests.hub.history import Commit, Repository
from tests.hub.views import entry_view, last_change, tree_entries

routes = web.RouteTableDef()

_MAX_PATHS = 1000


@routes.get("/api/{kinds:models|datasets}/{owner}/{name}/tree/{revision}")
@routes.get("/api/{kinds:models|datasets}/{owner}/{name}/tree/{revision}/{path:.+}")
async def tree(request: web.Request) -> web.Response:
    repository = readable_repository(request)
    commit = repository.resolve(request.match_info["revision"])
    folder = request.match_info.get("path", "").strip("/")
    if folder not in commit.folders:
        raise entry_not_found(f"{folder} does not exist on {request.match_info['revision']}", commit=commit.oid)
    recursive, expand = _flag(request, "recursive"), _flag(request, "expand")
    after = request.query.get("cursor", "")
    left = [item for item in tree_entries(commit, folder, recursive=recursive) if item[0] > after]
    page = left[: _page_entries(request, expand=expand)]
    views = [
        entry_view(path, entry, last_commit=_last(repository, commit, path, expand=expand)) for path, entry in page
    ]
    headers = {"Link": _next_link(request, cursor=page[-1][0])} if len(page) < len(left) else {}
    return web.json_response(views, headers=headers)


@routes.post("/api/{kinds:models|datasets}/{owner}/{name}/paths-info/{revision}")
async def paths_info(request: web.Request) -> web.Response:
    repository = readable_repository(request)
    commit = repository.resolve(request.match_info["revision"])
    paths, expand = await _wanted_paths(request)
    if len(paths) > _MAX_PATHS:
        raise HubError(413, "too many parameters")
    entries = {
        path: commit.files.get(path) or commit.folders.get(path) for path in (path.strip("/") for path in paths) if path
    }
    views = [
        entry_view(path, entry, last_commit=_last(repository, commit, path, expand=expand))
        for path, entry in entries.items()
        if entry is not None
    ]
    return web.json_response(views)


async def _wanted_paths(request: web.Request) -> tuple[list[str], bool]:
    """Read a body that may be a form or JSON."""
    body: dict[str, Any]
    if request.content_type == "application/json":
        body = json.loads(await request.read())
    else:
        form = await request.post()
        body = {"paths": form.getall("paths", []), "expand": str(form.get("expand", "")).lower() == "true"}
    paths = body.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise bad_request('"paths" must be an array of strings')
    return paths, body.get("expand") is True


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in {"true", "1"}


def _page_entries(request: web.Request, *, expand: bool) -> int:
    options = hub(request).options
    most = options.expanded_page_entries if expand else options.page_entries
    return min(most, int(request.query.get("limit", most)))


def _next_link(request: web.Request, *, cursor: str) -> str:
    url = URL(base_url(request)).join(request.rel_url).update_query(cursor=cursor)
    return f'<{url}>; rel="next"'


def _last(repository: Repository, commit: Commit, path: str, *, expand: bool) -> Commit | None:
    return last_change(repository, commit, path) if expand else None
