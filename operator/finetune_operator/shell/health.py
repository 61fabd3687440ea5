"""/healthz, /readyz and /metrics on one port."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

OK = 200
UNAVAILABLE = 503


class Vitals(Protocol):
    """Who knows how the process is."""

    def illnesses(self) -> list[str]:
        """Return why the process should be restarted; empty if all is well."""

    def is_ready(self) -> bool:
        """Tell whether it works, or could take over."""


def build_app(vitals: Vitals, registry: CollectorRegistry, *, before_scrape: Callable[[], None]) -> web.Application:
    """Return the application; that it answers at all shows that the event loop is alive."""

    async def healthz(_: web.Request) -> web.Response:
        illnesses = vitals.illnesses()
        return web.Response(text="\n".join(illnesses) or "ok", status=UNAVAILABLE if illnesses else OK)

    async def readyz(_: web.Request) -> web.Response:
        ready = vitals.is_ready()
        return web.Response(text="ok" if ready else "the first list is not in yet", status=OK if ready else UNAVAILABLE)

    turn = asyncio.Lock()

    async def metrics(_: web.Request) -> web.Response:
        async with turn:  # what is told of thousands of jobs is in memory once, however many ask
            before_scrape()
            text = await asyncio.to_thread(generate_latest, registry)  # which takes seconds then
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


async def serve(app: web.Application, *, port: int, host: str | None = None) -> web.AppRunner:
    """Listen; `cleanup()` of what is returned ends it."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host=host, port=port).start()
    return runner
