"""How much disk is left: a cluster without any fails in ways that say nothing of disks."""

import os
from pathlib import Path

from tests.cluster import paths

GIB = 2**30
# Beyond what is built already: logs, volumes and what pods write.
RUNNING_GIB = 2
# Go's own cache of modules and objects, and the programs.
BINARIES_GIB = 8
HELM_GIB = 3
# The trainer image, 2.3 GB: in the builder's store and on its way there, packed in the registry, unpacked on two nodes.
FIRST_IMAGES_GIB = 14


def check(needed_gib: float, *, what: str) -> None:
    """Check that the cache's disk has `needed_gib` left for `what`.

    Raises:
        SystemExit: it has less.
    """
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    free_gib = free_bytes(paths.CACHE) / GIB
    if free_gib < needed_gib:
        message = (
            f"disk: {paths.CACHE} has {free_gib:.1f} GiB left, but {what} needs {needed_gib} GiB; "
            "make room, or set XDG_CACHE_HOME to a folder of a bigger disk"
        )
        raise SystemExit(message)


def free_bytes(folder: Path) -> int:
    """Return what anybody may still write; blocks that a file system reserves need not be reserved for root."""
    stat = os.statvfs(folder)
    return stat.f_frsize * stat.f_bavail


def describe(folder: Path) -> str:
    """Return the state of the folder's disk in a line."""
    stat = os.statvfs(folder)
    total, free, unreserved = (stat.f_frsize * blocks / GIB for blocks in (stat.f_blocks, stat.f_bfree, stat.f_bavail))
    return (
        f"{folder}: {unreserved:.1f} GiB free of {total:.1f}, {free:.1f} with reserved blocks; "
        f"{stat.f_ffree} inodes free of {stat.f_files}"
    )
