"""kstatus by its own library, in a small Go program that is built once: what Flux, Helm and others read states with."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cluster.content import key_of, prune
from tests.cluster.paths import BINARIES, exclusive

SOURCES = Path(__file__).parent
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOWORK": "off"}
MISSING = "kstatus is built from its Go module, and there is no Go"


def program() -> Path:
    """Return the path of the program, built or not."""
    return BINARIES / f"kstatus-{key_of(*(SOURCES / name for name in ('main.go', 'go.mod', 'go.sum')))}" / "kstatus"


def can_be_had() -> bool:
    """Say whether the program is there, or can be built."""
    return program().exists() or shutil.which("go") is not None


def states_of(objects: Sequence[dict[str, Any]]) -> list[str]:
    """Return the state of each object, as kstatus calls it; the program is built if it is missing."""
    command = [_ensure()]
    done = subprocess.run(command, input=json.dumps(objects), check=True, stdout=subprocess.PIPE, text=True)
    states: list[str] = json.loads(done.stdout)
    return states


def _ensure() -> Path:
    with exclusive("kstatus"):
        found = program()
        if not found.exists():
            _build(found.parent)
        prune(BINARIES, keep=found.parent.name)
    return found


def _build(target: Path) -> None:
    BINARIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BINARIES, prefix=".building-") as temporary:
        output = Path(temporary) / "output"
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", f"{output}/", "."]
        subprocess.run(command, check=True, cwd=SOURCES, env=os.environ | ENVIRONMENT)
        output.rename(target)
