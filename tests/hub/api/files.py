"""Download a file at a revision, whole or in part."""

import mimetypes
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from tests.hub.context import CUT_AFTER, caller, hub, readable_repository
from tests.hub.errors import HubError, entry_not_found
from tests.hub.history import Commit, File
from tests.hub.rights import check_download

routes = web.RouteTableDef()

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CHUNK_BYTES = 1 << 18


@routes.get("/{owner}/{name}/resolve/{revision}/{path:.+}")
@routes.get("/{kinds:datasets}/{owner}/{name}/resolve/{revision}/{path:.+}")
async def resolve(request: web.Request) -> web.StreamResponse:
    repository = readable_repository(request)
    check_download(repository, caller(request))
    commit, path = repository.resolve(request.match_info["revision"]), request.match_info["path"]
    file = commit.files.get(path)
    if file is None:
        raise entry_not_found(commit=commit.oid)
    asked = None if request.method == "HEAD" else request.headers.get("Range")
    start, stop = _bounds(asked, file.size)
    response = web.StreamResponse(status=200 if asked is None else 206, headers=_headers(path, file, commit))
    response.content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    response.content_length = stop - start
    if asked is not None:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(request, response, hub(request).store.objects.path(file.sha256), start=start, stop=stop)
    await response.write_eof()
    return response


def _headers(path: str, file: File, commit: Commit) -> dict[str, str]:
    name = quote(path.rpartition("/")[2])
    headers = {
        "ETag": f'"{file.etag}"',
        "X-Repo-Commit": commit.oid,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{name}; filename=\"{name}\";",
    }
    if file.is_large:
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    return headers


def _bounds(asked: str | None, size: int) -> tuple[int, int]:
    """Return the first byte and the one after the last of a `Range` header; 416 when they lie outside the file."""
    if asked is None:
        return 0, size
    found = _RANGE.fullmatch(asked.strip())
    first, last = found.groups() if found else ("", "")
    if first == "" and last != "":
        start, stop = max(size - int(last), 0), size
    elif first != "":
        start, stop = int(first), min(int(last) + 1, size) if last else size
    else:
        start, stop = size, size
    if start >= stop:
        raise HubError(416, "Range Not Satisfiable", headers={"Content-Range": f"bytes */{size}"})
    return start, stop


async def _send(request: web.Request, response: web.StreamResponse, path: Path, *, start: int, stop: int) -> None:
    cut_after = request.get(CUT_AFTER)
    end = stop if cut_after is None else min(stop, start + cut_after)
    for chunk in _chunks(path, start=start, stop=end):
        await response.write(chunk)
    if end < stop and request.transport is not None:
        request.transport.close()  # sends what was written, then ends the connection in the middle of the body


def _chunks(path: Path, *, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop:
            chunk = file.read(min(_CHUNK_BYTES, stop - start))
            start += len(chunk)
            yield chunk
