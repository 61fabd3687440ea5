"""Which S3 server the tests use: Versity's gateway, built from its Go module, or the one that VERSITYGW names."""

import os
from pathlib import Path

from tests.cluster import go_modules

MODULE, VERSION = "github.com/versity/versitygw", "v1.8.0"
MISSING = "the S3 server is missing: it is built from a Go module, and there is no Go; or name one in VERSITYGW"


def find() -> Path | None:
    """Return the server's program, building it if it was never built here; None where that takes Go."""
    if given := os.environ.get("VERSITYGW"):
        return Path(given)
    return go_modules.find(MODULE, VERSION, "./cmd/versitygw", minutes=3)
