"""Where everything outside the checkout lives, and the lock that lets one driver at a time change it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GO_SOURCES = Path(__file__).resolve().parent / "go"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune-operator"
BINARIES = CACHE / "bin"
CLUSTER = CACHE / "cluster"
IMAGES = CACHE / "images"
KUBECONFIG = CLUSTER / "kubeconfig"
CERTIFICATES = CLUSTER / "certificates"
LOGS = CLUSTER / "logs"
VOLUMES = CLUSTER / "volumes"
# Short, because a socket's path may have at most 107 bytes. Where it is no memory, it outlives a reboot: records and
# the fingerprint hold the boot's id.
RUN = Path("/run/finetune-operator")


@contextmanager
def exclusive(what: str) -> Iterator[None]:
    """Wait until no other driver changes this machine's `what`, and keep others out meanwhile; must not be nested."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
