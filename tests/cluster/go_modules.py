"""Programs of Go modules of their own, built as main modules, as their authors do: each has its own dependencies."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import disk
from tests.cluster.content import key_of, prune
from tests.cluster.paths import BINARIES, exclusive
from tests.cluster.progress import say

_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}


def find(module: str, version: str, package: str, *, minutes: int) -> Path | None:
    """Return the program of a package, building it if it never was here; None where that takes Go."""
    name = (module if package == "." else package).rsplit("/", 1)[-1]
    program = BINARIES / f"{name}-{key_of(module, version)}"
    if shutil.which("go") is None and not program.exists():
        return None
    with exclusive(name):
        if not program.exists():
            disk.check(disk.HELM_GIB, what=f"building {name}")
            say(f"Building {name} from its Go module (about {minutes} minutes on 2 cores, once)")
            with built(module, version, package) as (made, _):
                made.rename(program)
        prune(BINARIES, keep=program.name)
    return program


@contextmanager
def built(module: str, version: str, package: str) -> Iterator[tuple[Path, Path]]:
    """Build a package of a module; give the program and the module's sources, which are gone afterwards."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BINARIES, prefix=".building-") as temporary:
        sources, program = Path(temporary) / "sources", Path(temporary) / "program"
        shutil.copytree(_download(module, version), sources)
        subprocess.run(["chmod", "--recursive", "u+w", sources], check=True)
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), package]
        subprocess.run(command, check=True, cwd=sources, env=os.environ | _ENVIRONMENT)
        yield program, sources


def _download(module: str, version: str) -> Path:
    command = ["go", "mod", "download", "-json", f"{module}@{version}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=BINARIES, env=os.environ | _ENVIRONMENT)
    return Path(json.loads(done.stdout)["Dir"])
