"""Ask how to send files, commit them, and read the log."""

import base64
from typing import Any

from aiohttp import web

from tests.hub.attributes import is_ignored, is_large
from tests.hub.commits import apply_commit
from tests.hub.context import caller, hub, json_object, readable_repository, repo_url, writable_repository
from tests.hub.errors import bad_request, forbidden, login_required
from tests.hub.history import Commit
from tests.hub.names import check_file_path
from tests.hub.views import commit_view

routes = web.RouteTableDef()

_MAX_PREUPLOAD_FILES = 256
_PULL_REQUESTS_OFF = "Pull requests and discussions are disabled for this repository"


@routes.post("/api/{kinds:models|datasets}/{owner}/{name}/preupload/{revision}")
async def preupload(request: web.Request) -> web.Response:
    body = await json_object(request)
    repository = writable_repository(request)
    commit = repository.resolve(request.match_info["revision"])
    files = body.get("files")
    if not isinstance(files, list) or len(files) > _MAX_PREUPLOAD_FILES:
        raise bad_request(f'"files" must be an array of at most {_MAX_PREUPLOAD_FILES} objects')
    attributes = _text(request, commit, ".gitattributes")
    gitignore = body["gitIgnore"] if "gitIgnore" in body else _text(request, commit, ".gitignore")
    answers = [_answer(file, commit, attributes=attributes, gitignore=gitignore) for file in files]
    return web.json_response({"files": answers, "commitOid": commit.oid})


def _text(request: web.Request, commit: Commit, path: str) -> str:
    file = commit.files.get(path)
    return "" if file is None else hub(request).store.objects.read(file.sha256).decode(errors="replace")


def _answer(file: dict[str, Any], commit: Commit, *, attributes: str, gitignore: str) -> dict[str, Any]:
    path, size, sample = check_file_path(file.get("path")), file.get("size"), file.get("sample")
    if not isinstance(size, int) or not isinstance(sample, str):
        raise bad_request(f'"size" and "sample" are required for {path}')
    large = is_large(path, size=size, sample=base64.b64decode(sample), attributes=attributes)
    answer = {
        "path": path,
        "uploadMode": "lfs" if large else "regular",
        "shouldIgnore": is_ignored(path, gitignore=gitignore),
    }
    if path in commit.files:
        answer["oid"] = commit.files[path].etag
    return answer


@routes.post("/api/{kinds:models|datasets}/{owner}/{name}/commit/{revision}")
async def commit(request: web.Request) -> web.Response:
    repository = writable_repository(request)
    author = caller(request)
    if author is None:
        raise login_required()
    if request.query.get("create_pr") in {"1", "true"}:
        raise forbidden(_PULL_REQUESTS_OFF)
    store, branch = hub(request).store, request.match_info["revision"].removeprefix("refs/heads/")
    with store.objects.incoming() as body:
        async for chunk in request.content.iter_chunked(1 << 20):
            body.write(chunk)
        body.seek(0)
        made = apply_commit(store, repository, branch, body, author=author.user.name)
    url = f"{repo_url(request, repository)}/commit/{made.oid}"
    return web.json_response({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


@routes.get("/api/{kinds:models|datasets}/{owner}/{name}/commits/{revision}")
async def log(request: web.Request) -> web.Response:
    repository = readable_repository(request)
    commits = repository.log(repository.resolve(request.match_info["revision"]))
    return web.json_response([commit_view(commit) for commit in commits])
