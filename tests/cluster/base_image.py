"""The image that ours start from where none can be pulled: Debian with its Python, made from Debian's packages."""

import subprocess
from pathlib import Path

from tests.cluster import mounts
from tests.cluster.content import key_of
from tests.cluster.engine import Engine
from tests.cluster.paths import IMAGES
from tests.cluster.progress import say

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
# Of no use in a container, and a third of the size.
UNWANTED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)


def ensure(engine: Engine) -> str:
    """Return the name of the base image, making it (about a minute) if the engine does not have it."""
    name = f"localhost/finetune-base:{key_of(SUITE, PACKAGES, *UNWANTED)}"
    if not engine.has(name):
        say("Making the base image from Debian packages (about a minute, once)")
        _make(engine, name)
    return name


def _make(engine: Engine, name: str) -> None:
    folder = IMAGES / "base"
    mounts.delete(folder)  # of a driver that was killed: debootstrap mounts /proc in there
    folder.mkdir(parents=True)
    root, archive = folder / "root", folder / "base.tar"
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    excluded = [f"--exclude=./{path}/*" for path in (*UNWANTED, "dev", "proc", "sys")]
    subprocess.run(["tar", "--create", "--file", archive, "--directory", root, *excluded, "."], check=True)
    _load(engine, archive, name)
    mounts.delete(folder)


def _load(engine: Engine, archive: Path, name: str) -> None:
    if engine.name == "docker":
        engine.run("import", archive, name)
        return
    container = engine.run("from", "scratch")
    engine.run("add", "--quiet", container, archive, "/")
    engine.run("commit", "--quiet", "--rm", container, name)
