"""What happens to every request around its handler: recorded, made to fail, refused in the Hub's words."""

import asyncio
import json
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from aiohttp import web
from pydantic import ValidationError

from tests.hub.context import CALLER, CUT_AFTER, caller, hub
from tests.hub.errors import HubError, bad_request, not_found
from tests.hub.faults import Amend, Claim, CutAfter, Delay, Fault, Refuse
from tests.hub.request_log import Entry
from tests.hub.views import timestamp

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FAULT = web.RequestKey("fault", Fault)

_logger = logging.getLogger("tests.hub")


class _Cut(Exception):  # noqa: N818 - not an error of ours, but the way out of the handler
    """Close the connection without an answer; `status` is what the answer would have been, had one been made."""

    def __init__(self, *, status: int | None) -> None:
        super().__init__()
        self.status = status


@web.middleware
async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log the request, whatever becomes of it."""
    if _is_for_tests(request):
        return await handler(request)
    started = time.monotonic()
    response: web.StreamResponse = web.Response(status=500)
    status: int | None = None
    try:
        response = await handler(request)
        status = response.status
    except _Cut as cut:
        status = cut.status
        _reset_connection(request)
    finally:
        entry = _entry(request, status, seconds=time.monotonic() - started)
        hub(request).log.add(entry)
        _logger.info(entry.model_dump_json(by_alias=True))
    return response


@web.middleware
async def fail_on_demand(request: web.Request, handler: Handler) -> web.StreamResponse:
    fault = None if _is_for_tests(request) else hub(request).faults.take(request.method, _target(request))
    if fault is None:
        return await handler(request)
    request[FAULT] = fault
    match fault.action:
        case "cut":
            raise _Cut(status=None)
        case "lose-answer":
            raise _Cut(status=(await handler(request)).status)
        case Refuse() as refuse:
            return HubError(refuse.status, refuse.message, code=refuse.error_code, headers=refuse.headers).response()
        case Delay(delay=seconds):
            await asyncio.sleep(seconds)
        case CutAfter(cut_after_bytes=count):
            request[CUT_AFTER] = count
        case Claim(claim=answer):
            return web.json_response(answer)
        case Amend(amend=fields):
            return _amended(await handler(request), fields)
    return await handler(request)


def _amended(response: web.StreamResponse, fields: Mapping[str, object]) -> web.Response:
    """Return an answer of 200 with the given fields in place of its own."""
    assert isinstance(response, web.Response)
    answer = json.loads(response.text or "{}") | fields
    return web.json_response({name: value for name, value in answer.items() if value is not None})


@web.middleware
async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what handlers raise into answers that the client understands."""
    try:
        if hub(request).features.lacks(request.path):
            raise not_found()
        return await handler(request)
    except HubError as error:
        return error.response()
    except ValidationError as error:
        return bad_request(str(error)).response()
    except web.HTTPException as error:
        return HubError(error.status, error.reason).response()


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    found = hub(request).accounts.caller(request.headers.get("Authorization"))
    if found is not None:
        request[CALLER] = found
    return await handler(request)


def _is_for_tests(request: web.Request) -> bool:
    return request.path.startswith("/_test/") or request.path == "/healthz"


def _target(request: web.Request) -> str:
    return f"{request.path}?{request.query_string}" if request.query_string else request.path


def _reset_connection(request: web.Request) -> None:
    """Close with a reset rather than in good order, as a load balancer or a dying machine would."""
    if request.transport is None:
        return
    endpoint = request.transport.get_extra_info("socket")
    if endpoint is not None:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


def _entry(request: web.Request, status: int | None, *, seconds: float) -> Entry:
    who, fault = caller(request), request.get(FAULT)
    return Entry(
        time=timestamp(datetime.now(UTC)),
        method=request.method,
        path=request.path,
        query=request.query_string,
        status=status,
        seconds=round(seconds, 4),
        user=None if who is None else who.user.name,
        user_agent=request.headers.get("User-Agent"),
        fault=None if fault is None else fault.name,
    )
