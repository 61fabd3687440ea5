"""Servers of others that tests start: a port for them, and when they answer at it."""

import contextlib
import secrets
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 300
#: Below what Linux gives to connections and to those who leave the choice to it: until whoever is to listen does, which
#: takes a Python with PyTorch seconds, nobody else is given the port.
PORTS = range(20_000, 30_000)


def free_port(host: str = "") -> int:
    """Return a port that nobody listens at now, by default at any address, for somebody who is told it."""
    while True:
        port = secrets.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((host, port))
            return port


def wait_for(
    address: tuple[str, int], process: "subprocess.Popen[bytes]", output: Path, *, seconds: float = START_SECONDS
) -> None:
    """Return when the process listens at an address; fails with its last words."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(output.read_text()[-2000:]) from None
            time.sleep(0.02)
        else:
            return
