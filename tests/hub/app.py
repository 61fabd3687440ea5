"""The web application: every call of every module, wrapped in the middlewares."""

from collections.abc import AsyncIterator

from aiohttp import web

from tests.hub.api import accounts, commits, control, files, lfs, references, repositories, trees
from tests.hub.context import HUB, Hub
from tests.hub.middlewares import authenticate, fail_on_demand, record, refuse

_MAX_JSON_BYTES = 64 << 20


def build_app(hub: Hub) -> web.Application:
    """Return the application that serves this Hub."""
    middlewares = [record, fail_on_demand, refuse, authenticate]
    app = web.Application(middlewares=middlewares, client_max_size=_MAX_JSON_BYTES)
    app[HUB] = hub
    for module in (control, accounts, repositories, trees, commits, references, lfs, files):
        app.add_routes(module.routes)
    app.cleanup_ctx.append(_close_uploads)
    return app


async def _close_uploads(app: web.Application) -> AsyncIterator[None]:
    yield
    app[HUB].uploads.close()
