"""promtool out of Debian's package of Prometheus, unpacked in the cache: nothing is installed, no server starts."""

import shutil
from pathlib import Path

from examples.inputs.debian_packages import unpack_packages
from tests.cluster.content import key_of, prune
from tests.cluster.paths import CACHE, exclusive

PACKAGE = "prometheus"
FOLDER = CACHE / "promtool"
#: Another release of Debian has another promtool.
RELEASE = Path("/etc/os-release")


def missing_programs() -> list[str]:
    """Return what is not here of the programs by which packages are fetched: nothing, on Debian and its children."""
    return [program for program in ("apt-get", "dpkg") if shutil.which(program) is None]


def ensure() -> Path:
    """Return the path of promtool, fetching it (19 MB) if this machine does not have it yet.

    Raises:
        RuntimeError: the package cannot be had; the message is apt-get's.
    """
    with exclusive("promtool"):
        folder = FOLDER / key_of(PACKAGE, RELEASE)
        unpack_packages([PACKAGE], folder=folder)
        prune(FOLDER, keep=folder.name)
    return folder / "usr" / "bin" / "promtool"
