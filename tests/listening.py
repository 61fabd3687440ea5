"""Servers of others that tests start: a port for them, and when they answer at it."""

import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 30


def free_port(host: str) -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def wait_for(address: tuple[str, int], process: "subprocess.Popen[bytes]", output: Path) -> None:
    """Return when the process listens at an address; fails with its last words."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(output.read_text()[-2000:]) from None
            time.sleep(0.02)
        else:
            return
