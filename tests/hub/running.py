"""A Hub on a free loopback port, in a thread of the test process."""

import asyncio
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from aiohttp import web

from tests.hub.accounts import DEFAULT_ACCOUNTS, Accounts
from tests.hub.app import build_app
from tests.hub.context import Hub, Options
from tests.hub.faults import Fault


class RunningHub:
    """A Hub that answers at `endpoint`, and the calls by which a test steers and inspects it.

    Clients need `HF_ENDPOINT=<endpoint>` (or `HfApi(endpoint=...)`) and, for uploads, `HF_HUB_DISABLE_XET=1`.
    """

    write_token = "hf_demo_write"
    read_token = "hf_demo_read"

    def __init__(self, endpoint: str, *, tls_port: int | None = None) -> None:
        self.endpoint = endpoint
        self.tls_port = tls_port

    def fail(
        self,
        action: str | Mapping[str, Any],
        *,
        method: str | None = None,
        path: str = "",
        times: int | None = 1,
        skip: int = 0,
    ) -> None:
        """Make coming requests go wrong; `path` is a regular expression searched in the path and query.

        Actions: "cut" (reset before anything is done), "lose-answer" (done, then reset), {"status": 503,
        "headers": {...}, "errorCode": ...}, {"delay": seconds}, {"cutAfterBytes": n} (downloads), {"claim": JSON}
        (nothing done, 200 with this JSON), {"amend": {...}} (done, 200 with these fields in place of the answer's own,
        None for none). Of the matching requests, the first `skip` go through and `times` after them go wrong;
        `times=None` lasts until `clear`.
        """
        match = {"method": method, "path": path}
        fault = Fault.model_validate({"match": match, "times": times, "skip": skip, "action": action})
        self._call("POST", "/_test/faults", fault.model_dump(by_alias=True))

    def features(self, **wanted: bool) -> dict[str, bool]:
        """Switch optional calls on or off (`whoami=False, settings=False`) and return the state of all."""
        return dict(self._call("POST", "/_test/features", wanted))

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests since the last `clear`, oldest first."""
        return list(self._call("GET", "/_test/requests"))

    def calls(self) -> list[str]:
        """Return `METHOD path status` of each request since the last `clear`."""
        return [f"{entry['method']} {entry['path']} {entry['status']}" for entry in self.requests()]

    def commits(self, repo_id: str, *, repo_type: str = "model") -> dict[str, Any]:
        """Return a repository's branches, tags and commits (newest first), with the files of each."""
        return dict(self._call("GET", f"/_test/commits/{repo_type}/{repo_id}"))

    def clear(self) -> None:
        """Forget requests and faults, and switch every optional call on; repositories stay."""
        for what in ("requests", "faults", "features"):
            self._call("DELETE", f"/_test/{what}")

    def delete_repositories(self) -> None:
        self._call("DELETE", "/_test/repositories")

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.endpoint + path, data=data, method=method), timeout=30) as answer:
            return json.load(answer)


@contextmanager
def running_hub(
    directory: Path | None = None,
    *,
    accounts: Accounts = DEFAULT_ACCOUNTS,
    options: Options | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[RunningHub]:
    """Run a Hub until the block ends, in `directory` or in one that is removed afterwards; with `tls` also by HTTPS."""
    with tempfile.TemporaryDirectory() as scratch:
        hub = Hub(directory or Path(scratch), accounts=accounts, options=options or Options())
        with _serving(hub, tls) as (port, tls_port):
            yield RunningHub(f"http://127.0.0.1:{port}", tls_port=tls_port)


@contextmanager
def _serving(hub: Hub, tls: ssl.SSLContext | None) -> Iterator[tuple[int, int | None]]:
    """Serve from a thread with a loop of its own; yield the port, and that of HTTPS."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(build_app(hub), access_log=None, shutdown_timeout=1)
    ports = loop.run_until_complete(_start(runner, tls))
    thread = threading.Thread(target=loop.run_forever, name="hub", daemon=True)
    thread.start()
    try:
        yield ports
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()


async def _start(runner: web.AppRunner, tls: ssl.SSLContext | None) -> tuple[int, int | None]:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    if tls is None:
        return int(runner.addresses[0][1]), None
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    return int(runner.addresses[0][1]), int(runner.addresses[1][1])
