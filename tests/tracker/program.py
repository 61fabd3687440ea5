"""Which MLflow server the tests use: that of the client's own version, in an environment of its own.

The trainer has the client alone (mlflow-skinny). The server needs 80 packages more, half a gigabyte, which nothing here
is to depend on; so it lies in the cache, by its version.
"""

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from tests.cluster import disk
from tests.cluster.content import key_of, prune
from tests.cluster.paths import CACHE, exclusive
from tests.cluster.progress import say

FOLDER = CACHE / "mlflow"
#: Authentication is a part of its own.
PACKAGE = f"mlflow[auth]=={version('mlflow-skinny')}"


def find() -> Path:
    """Return the server's program, installing it if it was never installed here."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    place = FOLDER / key_of(PACKAGE)
    program = place / "bin" / "mlflow"
    with exclusive("mlflow"):
        if not program.exists():
            disk.check(disk.HELM_GIB, what="installing the MLflow server")
            say("Installing the MLflow server (about a minute, once)")
            shutil.rmtree(place, ignore_errors=True)
            for command in (["venv", "--quiet", "--python", "3.11", str(place)], _install(place)):
                subprocess.run([_uv(), *command], check=True, stdout=subprocess.DEVNULL)
        prune(FOLDER, keep=place.name)
    return program


def _install(place: Path) -> list[str]:
    return ["pip", "install", "--quiet", "--compile-bytecode", "--python", str(place / "bin" / "python"), PACKAGE]


def _uv() -> str:
    """Return the uv that `make` names or has installed."""
    found = os.environ.get("UV") or next(map(str, sorted(CACHE.glob("uv-*/bin/uv"), reverse=True)), None)
    assert found is not None, "uv is missing: run `make setup`, or name one in UV"
    return found
