"""A server that speaks as Google Cloud Storage does, fake-gcs-server, for tests; FAKE_GCS_SERVER may name another one.

It is of no use for publishing: of the XML API, which clients of ours speak, it knows how to read alone.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import go_modules
from tests.listening import free_port, wait_for

MODULE, VERSION = "github.com/fsouza/fake-gcs-server", "v1.56.1"
MISSING = "fake-gcs-server is missing: it is built from a Go module, and there is no Go; or name it in FAKE_GCS_SERVER"


def find() -> Path | None:
    """Return the server's program, building it if it was never built here; None where that takes Go."""
    if given := os.environ.get("FAKE_GCS_SERVER"):
        return Path(given)
    return go_modules.find(MODULE, VERSION, ".", minutes=4)


def settings(endpoint: str) -> dict[str, str]:
    """Return what clients of a server need, as a Secret has it: its address, and an account that needs no token."""
    account = {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
    return {"GOOGLE_BASE_URL": endpoint, "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}


@contextmanager
def running_gcs(program: Path, folder: Path) -> Iterator[str]:
    """Give the endpoint of a server on loopback that starts with the folders of `folder` as its buckets, in memory."""
    host, port = "127.0.0.1", free_port("127.0.0.1")
    command = [
        *(str(program), "-scheme", "http", "-host", host, "-port", str(port), "-public-host", f"{host}:{port}"),
        *("-backend", "memory", "-data", str(folder)),
    ]
    output = folder.with_suffix(".log")
    with output.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            wait_for((host, port), process, output)
            yield f"http://{host}:{port}"
        finally:
            process.terminate()
