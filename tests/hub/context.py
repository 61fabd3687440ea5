"""What a request handler works with: the Hub's state, and the caller and repository that a request names."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.hub.accounts import DEFAULT_ACCOUNTS, Accounts, Caller
from tests.hub.errors import bad_request
from tests.hub.faults import Faults
from tests.hub.features import Features
from tests.hub.history import Kind, Repository
from tests.hub.request_log import RequestLog
from tests.hub.rights import readable, writable
from tests.hub.store import Store
from tests.hub.uploads import Uploads


@dataclass(frozen=True, kw_only=True)
class Options:
    """Limits that tests shrink; the defaults are near the real Hub's, save that it splits uploads only above 5 GB."""

    page_entries: int = 1000
    expanded_page_entries: int = 50
    multipart_bytes: int = 128 << 20
    chunk_bytes: int = 32 << 20


@dataclass(frozen=True)
class Hub:
    """One Hub: its accounts, repositories and uploads, and what tests asked of it."""

    directory: Path
    accounts: Accounts = DEFAULT_ACCOUNTS
    options: Options = Options()
    faults: Faults = field(default_factory=Faults)
    features: Features = field(default_factory=Features)
    log: RequestLog = field(default_factory=RequestLog)
    store: Store = field(init=False)
    uploads: Uploads = field(init=False)

    def __post_init__(self) -> None:
        store, options = Store(self.directory), self.options
        object.__setattr__(self, "store", store)
        uploads = Uploads(store, multipart_bytes=options.multipart_bytes, chunk_bytes=options.chunk_bytes)
        object.__setattr__(self, "uploads", uploads)


HUB = web.AppKey("hub", Hub)
CALLER = web.RequestKey("caller", Caller)
CUT_AFTER = web.RequestKey("cut_after", int)


def hub(request: web.Request) -> Hub:
    return request.app[HUB]


def caller(request: web.Request) -> Caller | None:
    return request.get(CALLER)


def base_url(request: web.Request) -> str:
    """Return the address under which the client reached this server; links in answers start with it."""
    return f"{request.scheme}://{request.host}"


def repo_url(request: web.Request, repository: Repository) -> str:
    prefix = "datasets/" if repository.kind == "dataset" else ""
    return f"{base_url(request)}/{prefix}{repository.id}"


def kind(request: web.Request) -> Kind:
    return "dataset" if request.match_info.get("kinds", "models") == "datasets" else "model"


def repo_id(request: web.Request) -> str:
    return f"{request.match_info['owner']}/{request.match_info['name']}"


def readable_repository(request: web.Request) -> Repository:
    return readable(hub(request).store, kind(request), repo_id(request), caller(request))


def writable_repository(request: web.Request) -> Repository:
    return writable(hub(request).store, kind(request), repo_id(request), caller(request))


async def json_object(request: web.Request) -> dict[str, Any]:
    """Return the request's body, {} when there is none; 400 unless it is a JSON object."""
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise bad_request(f"Invalid JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("Expected a JSON object")
    return body
