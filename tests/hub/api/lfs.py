"""Large files: where to send them, sending them, and the check afterwards (the git-lfs batch protocol).

The Hub's newer Xet protocol is left out; clients must be told so with `HF_HUB_DISABLE_XET=1`.
"""

import re
from typing import Any

from aiohttp import web

from tests.hub.context import base_url, hub, json_object, repo_url, writable_repository
from tests.hub.errors import bad_request, entry_not_found
from tests.hub.history import Repository
from tests.hub.objects import Stored

routes = web.RouteTableDef()

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20
_MAX_BATCH_OBJECTS = 1000
_MEDIA_TYPE = "application/vnd.git-lfs+json"


@routes.post("/{owner}/{name}.git/info/lfs/objects/batch")
@routes.post("/{kinds:datasets}/{owner}/{name}.git/info/lfs/objects/batch")
async def batch(request: web.Request) -> web.Response:
    body = await json_object(request)
    repository = writable_repository(request)
    if body.get("operation") != "upload" or body.get("hash_algo", "sha256") != "sha256":
        raise bad_request("Only uploads by sha256 are supported")
    objects = body.get("objects")
    if not isinstance(objects, list) or len(objects) > _MAX_BATCH_OBJECTS:
        raise bad_request(f'"objects" must be an array of at most {_MAX_BATCH_OBJECTS} objects')
    may_split = "multipart" in body.get("transfers", ["basic"])
    answers = [_answer(request, repository, _promised(item), may_split=may_split) for item in objects]
    is_split = any("chunk_size" in answer.get("actions", {}).get("upload", {}).get("header", {}) for answer in answers)
    shown = {"transfer": "multipart" if is_split else "basic", "objects": answers, "hash_algo": "sha256"}
    return web.json_response(shown, content_type=_MEDIA_TYPE)


@routes.post("/{owner}/{name}.git/info/lfs/verify")
@routes.post("/{kinds:datasets}/{owner}/{name}.git/info/lfs/verify")
async def verify(request: web.Request) -> web.Response:
    promised = _promised(await json_object(request))
    repository = writable_repository(request)
    if promised.sha256 not in repository.large_objects:
        raise entry_not_found(f"Object {promised.sha256} was not uploaded")
    size = hub(request).store.objects.path(promised.sha256).stat().st_size
    if size != promised.size:
        raise bad_request(f"Size mismatch: expected {promised.size} bytes for {promised.sha256}, got {size}")
    return web.json_response({})


@routes.put("/_lfs/{upload}")
async def receive(request: web.Request) -> web.Response:
    await hub(request).uploads.receive(request.match_info["upload"], request.content.iter_chunked(_CHUNK_BYTES))
    return web.Response()


@routes.put(r"/_lfs/{upload}/{part:\d+}")
async def receive_part(request: web.Request) -> web.Response:
    upload, part = request.match_info["upload"], int(request.match_info["part"])
    etag = await hub(request).uploads.receive_part(upload, part, request.content.iter_chunked(_CHUNK_BYTES))
    return web.Response(headers={"ETag": etag})


@routes.post("/_lfs/{upload}")
async def complete(request: web.Request) -> web.Response:
    body = await json_object(request)
    parts = body.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise bad_request('"parts" must be an array of objects')
    hub(request).uploads.complete(
        request.match_info["upload"], {part.get("partNumber"): part.get("etag") for part in parts}
    )
    return web.json_response({"success": True})


def _promised(item: object) -> Stored:
    if (
        not isinstance(item, dict)
        or not _SHA256.fullmatch(str(item.get("oid")))
        or not isinstance(item.get("size"), int)
    ):
        raise bad_request("An object needs `oid`, a sha256 in hexadecimal, and `size`")
    return Stored(item["oid"], item["size"])


def _answer(request: web.Request, repository: Repository, promised: Stored, *, may_split: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"oid": promised.sha256, "size": promised.size, "authenticated": True}
    if promised.sha256 in repository.large_objects:
        return answer
    upload_id, upload = hub(request).uploads.begin(repository, promised, may_split=may_split)
    href = f"{base_url(request)}/_lfs/{upload_id}"
    header = {}
    if upload.chunk_bytes is not None:
        header = {"chunk_size": str(upload.chunk_bytes)}
        header |= {str(part): f"{href}/{part}" for part in range(1, upload.num_parts + 1)}
    verify_href = f"{repo_url(request, repository)}.git/info/lfs/verify"
    return answer | {"actions": {"upload": {"href": href, "header": header}, "verify": {"href": verify_href}}}
