"""Which S3 server the tests use: Versity's gateway, built from its Go module, or the one that VERSITYGW names."""

import os
import shutil
from pathlib import Path

from tests.cluster import disk, go_modules
from tests.cluster.content import key_of, prune
from tests.cluster.paths import BINARIES, exclusive
from tests.cluster.progress import say

MODULE, VERSION = "github.com/versity/versitygw", "v1.8.0"
MISSING = "the S3 server is missing: it is built from a Go module, and there is no Go; or name one in VERSITYGW"


def find() -> Path | None:
    """Return the server's program, building it if it was never built here; None where that takes Go."""
    if given := os.environ.get("VERSITYGW"):
        return Path(given)
    built = BINARIES / f"versitygw-{key_of(MODULE, VERSION)}"
    if shutil.which("go") is None and not built.exists():
        return None
    with exclusive("versitygw"):
        if not built.exists():
            disk.check(disk.HELM_GIB, what="building the S3 server")
            say("Building the S3 server from its Go module (about 3 minutes on 2 cores, once)")
            with go_modules.built(MODULE, VERSION, "./cmd/versitygw") as (program, _):
                program.rename(built)
        prune(BINARIES, keep=built.name)
    return built
