"""Asking rank 0: against a real server on loopback, good and bad."""

from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from finetune_api.contract import Progress, Role
from finetune_api.status import ProgressStatus
from finetune_operator.core.observed import ProgressReport
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.kinds import FINETUNE_JOB, POD
from finetune_operator.shell.progress import MAX_ANSWER_BYTES, ProgressPoller
from tests.operator.given import T0, UID, manifest, raw_pod, while_training

Handler = Callable[[web.Request], Awaitable[web.Response]]
GOOD = Progress(attempt=1, progress=ProgressStatus(stage="Training", step=5, total_steps=10, percent=50))


async def poll(handler: Handler) -> tuple[ProgressReport | None, list[str]]:
    """Return what the cache knows, and who was enqueued, after one round against a server that answers so."""
    cache = Cache(now=lambda: T0)
    cache.put(FINETUNE_JOB, manifest(status=while_training().status))
    cache.put(POD, raw_pod(Role.TRAIN, attempt=1))
    app = web.Application()
    app.router.add_get("/progress", handler)
    enqueued: list[str] = []
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        assert server.port is not None
        poller = ProgressPoller(cache, enqueue=enqueued.append, seconds=1, port=server.port)
        await poller.poll(session)
    return cache.observe(UID).progress, enqueued


async def test_a_good_answer_is_kept_and_the_job_is_looked_at() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=GOOD.model_dump_json(by_alias=True))

    assert await poll(answer) == (ProgressReport(attempt=1, progress=GOOD, advanced_at=T0), [UID])


BAD = {
    "an error": web.Response(status=500),
    "no JSON": web.Response(text="<html>"),
    "JSON of something else": web.Response(text="[]"),
    "an older attempt": web.Response(text=GOOD.model_copy(update={"attempt": 9}).model_dump_json(by_alias=True)),
    "a redirect": web.Response(status=302, headers={"Location": "http://192.0.2.1/"}),
    "not a number": web.Response(text='{"attempt": 1, "progress": {}, "metrics": {"trainLoss": NaN}}'),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_answer_counts_as_none(name: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        response = BAD[name]
        return web.Response(body=response.body, status=response.status, headers=response.headers)

    assert await poll(answer) == (ProgressReport(attempt=1, progress=None, advanced_at=T0), [UID])


async def test_an_endless_answer_is_cut_off() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=GOOD.model_dump_json(by_alias=True) + " " * (4 * MAX_ANSWER_BYTES) + "x")

    report, _ = await poll(answer)

    assert report is not None
    assert report.progress in (None, GOOD)


async def test_a_pod_that_does_not_listen_counts_as_silent() -> None:
    cache = Cache(now=lambda: T0)
    cache.put(FINETUNE_JOB, manifest(status=while_training().status))
    cache.put(POD, raw_pod(Role.TRAIN, attempt=1))
    async with TestServer(web.Application()) as server:
        port = server.port
    assert port is not None

    async with aiohttp.ClientSession() as session:
        await ProgressPoller(cache, enqueue=lambda _: None, seconds=1, port=port).poll(session)

    assert cache.observe(UID).progress == ProgressReport(attempt=1, progress=None, advanced_at=T0)
