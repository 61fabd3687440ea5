"""Asking rank 0: against a real server on loopback, good and bad."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from finetune_api.contract import Progress, Role
from finetune_api.status import ProgressStatus
from finetune_operator.core.observed import ProgressReport
from finetune_operator.shell.cache import Cache, Target
from finetune_operator.shell.kinds import FINETUNE_JOB, POD
from finetune_operator.shell.pace import Pace
from finetune_operator.shell.progress import MAX_ANSWER_BYTES, ProgressPoller
from tests.listening import free_port
from tests.operator.given import T0, UID, manifest, raw_pod, while_training

PACE = Pace(seconds=10, writes_per_second=20)
Handler = Callable[[web.Request], Awaitable[web.Response]]
GOOD = Progress(attempt=1, progress=ProgressStatus(stage="Training", step=5, total_steps=10, percent=50))
REPORT = ProgressReport(attempt=1, pod_uid="pod-train-1-0")


def training_cache() -> Cache:
    cache = Cache(now=lambda: T0)
    cache.put(FINETUNE_JOB, manifest(status=while_training().status))
    cache.put(POD, raw_pod(Role.TRAIN, attempt=1))
    return cache


async def poll(handler: Handler) -> tuple[ProgressReport | None, list[str]]:
    """Return what the cache knows, and who was enqueued, after one round against a server that answers so."""
    cache = training_cache()
    app = web.Application()
    app.router.add_get("/progress", handler)
    enqueued: list[str] = []
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        assert server.port is not None
        poller = ProgressPoller(
            cache, pace=PACE, enqueue=enqueued.append, seconds=1, port=server.port, clock=lambda: 7.0
        )
        await poller.poll(session)
    return cache.observe(UID).progress, enqueued


async def test_a_good_answer_is_kept_and_the_job_is_looked_at() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=GOOD.model_dump_json(by_alias=True))

    assert await poll(answer) == (replace(REPORT, progress=GOOD, answered_at=7), [UID])


async def test_who_answers_is_looked_at_again_only_when_new_progress_may_be_written() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=GOOD.model_dump_json(by_alias=True))

    time, looked_at = [0.0], []
    pace = Pace(seconds=10, writes_per_second=20, clock=lambda: time[0])
    with pace.writing(UID, is_progress=True):
        pass
    app = web.Application()
    app.router.add_get("/progress", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        assert server.port is not None
        poller = ProgressPoller(
            training_cache(), pace=pace, enqueue=lambda _: looked_at.append(time[0]), seconds=1, port=server.port
        )
        for time[0] in (0.0, 4.0, 8.0, 12.0):
            await poller.poll(session)

    assert looked_at == [0.0, 12.0]


async def test_who_falls_silent_is_looked_at_once_that_is_to_be_told_whenever_progress_is_due() -> None:
    calls, time, looked_at = iter([200, 200, 500, 500, 500]), [0.0], []

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=next(calls), text=GOOD.model_dump_json(by_alias=True))

    pace = Pace(seconds=1000, writes_per_second=20, clock=lambda: time[0])
    with pace.writing(UID, is_progress=True):
        pass
    app = web.Application()
    app.router.add_get("/progress", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        assert server.port is not None
        poller = ProgressPoller(
            training_cache(),
            pace=pace,
            enqueue=lambda _: looked_at.append(time[0]),
            seconds=1,
            port=server.port,
            clock=lambda: time[0],
        )
        for time[0] in (0.0, 4.0, 8.0, 40.0, 80.0):
            await poller.poll(session)

    assert looked_at == [0.0, 80.0]


BAD = {
    "HTTP status 500 instead of 200": web.Response(status=500),
    "HTTP status 302 instead of 200": web.Response(status=302, headers={"Location": "http://192.0.2.1/"}),
    "what it answers is not the progress of a training": web.Response(text="<html>"),
    "it answers for the job of uid another": web.Response(
        text=GOOD.model_copy(update={"job_uid": "another"}).model_dump_json(by_alias=True)
    ),
    "it answers for attempt 9 instead of 1": web.Response(
        text=GOOD.model_copy(update={"attempt": 9}).model_dump_json(by_alias=True)
    ),
}
#: Answered, but not with progress.
UNREADABLE = ("<html>", "[]", '{"attempt": 1, "progress": {}, "metrics": {"trainLoss": NaN}}')


async def ask_until_silent(cache: Cache, port: int, *, seconds: float = 300) -> str:
    """Return what is said of a rank 0 that is asked three times within a minute, and waited for so long each time."""
    clock = iter((0.0, 30.0, 60.0))
    poller = ProgressPoller(cache, pace=PACE, enqueue=lambda _: None, seconds=1, port=port, clock=lambda: next(clock))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session:
        for _ in range(3):
            await poller.poll(session)
    report = cache.observe(UID).progress
    assert report is not None
    assert (report.progress, report.still_seconds) == (None, 0)
    return report.silence


@pytest.mark.parametrize("words", BAD)
async def test_a_bad_answer_counts_as_none_and_is_told_in_words(words: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        response = BAD[words]
        return web.Response(body=response.body, status=response.status, headers=response.headers)

    app = web.Application()
    app.router.add_get("/progress", answer)
    async with TestServer(app) as server:
        assert server.port is not None

        assert await ask_until_silent(training_cache(), server.port) == words


@pytest.mark.parametrize("text", UNREADABLE)
async def test_what_is_no_progress_counts_as_no_answer(text: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text)

    assert await poll(answer) == (replace(REPORT, num_unanswered=1, silent_since=7), [])


async def test_an_endless_answer_is_cut_off() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=GOOD.model_dump_json(by_alias=True) + " " * (4 * MAX_ANSWER_BYTES) + "x")

    report, _ = await poll(answer)

    assert report is not None
    assert report.progress in (None, GOOD)


async def test_a_pod_that_does_not_listen_is_said_to_refuse_connections() -> None:
    assert await ask_until_silent(training_cache(), free_port()) == "no connection (Connection refused)"


async def test_a_pod_that_takes_connections_and_says_nothing_is_said_to_time_out() -> None:
    async def listen(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(listen, "127.0.0.1", 0)

    words = await ask_until_silent(training_cache(), server.sockets[0].getsockname()[1], seconds=0.2)

    for writer in held:
        writer.close()
    server.close()
    assert words == "nothing came within 3 s, as when a NetworkPolicy or a firewall drops packets"


async def test_those_who_do_not_answer_keep_nobody_else_from_being_asked() -> None:
    """A thousand silent pods, which all take until the end of this test, and one that answers."""
    silent = [Target(f"silent-{number}", 1, "silent") for number in range(1000)]
    alive = Target("alive", 1, "alive")
    asked: list[str] = []
    enough, end = asyncio.Event(), asyncio.Event()

    class Jobs:
        def targets(self) -> list[Target]:
            return [*silent, alive] if asked else [alive]

        def note_polled(self, *_: object, **__: object) -> bool:
            return False

    class Poller(ProgressPoller):
        async def _fetch(self, _: aiohttp.ClientSession, target: Target) -> Progress | str:
            asked.append(target.uid)
            if asked.count("alive") == 5:
                enough.set()
            if target != alive:
                await end.wait()
            return GOOD if target == alive else "nothing"

    poller = Poller(cast("Cache", Jobs()), pace=PACE, enqueue=lambda _: None, seconds=0)
    running = asyncio.create_task(poller.run())
    async with asyncio.timeout(300):
        await enough.wait()
    end.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert len(asked) < 100
