"""A command in a container, as the Kubernetes client asks for it: over a WebSocket with a channel for each stream."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from finetune_cli.cluster.connection import Cluster, connect
from finetune_cli.cluster.refusal import RefusalError
from tests.cli.api_stub import write_kubeconfig

STDOUT, STDERR, STATUS = b"\x01", b"\x02", b"\x03"
SUCCESS = {"status": "Success"}
FAILURE = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "1"}]}}
#: What is no text, and does not fit one frame.
BYTES = os.urandom(3 << 20)
FRAME_BYTES = 32 << 10


async def answer(request: web.Request) -> web.WebSocketResponse:
    """Answer as a kubelet does: `cat` prints bytes, anything else fails."""
    socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
    await socket.prepare(request)
    is_cat = request.query.getall("command")[0] == "cat"
    for start in range(0, len(BYTES) if is_cat else 0, FRAME_BYTES):
        await socket.send_bytes(STDOUT + BYTES[start : start + FRAME_BYTES])
    if not is_cat:
        await socket.send_bytes(STDERR + b"dd: failed to open 'x':\nNo such file\n")
    await socket.send_bytes(STATUS + json.dumps(SUCCESS if is_cat else FAILURE).encode())
    await socket.close()
    return socket


@contextmanager
def kubelet() -> Iterator[str]:
    """Yield the address of a server that answers so."""
    loop, address = asyncio.new_event_loop(), ""

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/search/pods/reader/exec", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = loop.run_until_complete(serve())
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield address
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with kubelet() as address:
        write_kubeconfig(tmp_path / "config", address)
        yield connect(context=None, namespace=None)


def test_what_a_command_prints_comes_byte_for_byte(cluster: Cluster) -> None:
    assert cluster.execute("reader", "reader", ["cat", "weights"]) == BYTES


def test_a_command_that_fails_is_told_in_one_line(cluster: Cluster) -> None:
    with pytest.raises(RefusalError) as refused:
        cluster.execute("reader", "reader", ["dd", "if=x"])

    assert str(refused.value) == "cannot run dd in pod search/reader: dd: failed to open 'x': No such file"
    assert refused.value.code == 31


def test_a_file_of_a_pod_that_runs_is_read_and_one_that_is_not_there_is_empty(cluster: Cluster) -> None:
    pod = {
        "metadata": {"name": "reader", "namespace": "search", "labels": {"finetune.dev/role": "train"}},
        "status": {"phase": "Running"},
    }

    assert cluster.read_file("/workspace/x", [pod]) == BYTES.decode(errors="replace")
    assert cluster.read_file("/workspace/x", [{**pod, "status": {"phase": "Succeeded"}}]) == ""
