"""Forgets images that nobody asked for in days: they are big, and each change of dependencies makes a new one."""

import time
from pathlib import Path

from tests.cluster import registry
from tests.cluster.content import UNUSED_SECONDS_BEFORE_PRUNING
from tests.cluster.engine import Engine
from tests.cluster.paths import IMAGES

# One empty file per image, named after it, whose time says when it was asked for last.
USED = IMAGES / "used"


def note_use(reference: str) -> None:
    """Remember that this image was asked for now."""
    USED.mkdir(parents=True, exist_ok=True)
    _marker(reference).touch()


def prune(builder: Engine, *, binaries: Path) -> None:
    """Remove images that were not asked for in days from the builder and from the registry."""
    oldest_kept = time.time() - UNUSED_SECONDS_BEFORE_PRUNING
    stale = [marker for marker in USED.iterdir() if marker.stat().st_mtime < oldest_kept]
    for marker in stale:
        reference = marker.name.replace("+", "/")
        if builder.has(reference):
            builder.run("rmi", reference)
        registry.delete(reference)
        marker.unlink()
    if stale:
        registry.collect_garbage(binaries)
        if builder.name == "buildah":
            builder.run("rm", "--all")  # of builds that were killed; they would hold on to their images
            builder.run("rmi", "--prune")


def _marker(reference: str) -> Path:
    return USED / reference.replace("/", "+")
