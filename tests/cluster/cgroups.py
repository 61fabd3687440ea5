"""The control groups that hold the cluster's processes: how kubelets are kept apart, and how all is found and ended."""

import time
from pathlib import Path

from tests.cluster.ending import kill

MOUNT = Path("/sys/fs/cgroup")
PARENT = "finetune-operator"
END_SECONDS = 20


def is_version_2() -> bool:
    """Whether this machine has the unified hierarchy only."""
    return (MOUNT / "cgroup.controllers").exists()


def group_of(node: str) -> str:
    """Return the group of everything that belongs to a node, relative to each hierarchy."""
    return f"{PARENT}/{node}"


def create(node: str) -> str:
    """Make a node's group in every hierarchy and return a folder that its daemons can join.

    Two kubelets on one machine need a root group each, or one removes the other's pods.
    """
    for hierarchy in _hierarchies():
        folder = hierarchy
        for name in (*group_of(node).split("/"), "system"):
            _enable_controllers(folder)
            folder = folder / name
            folder.mkdir(exist_ok=True)
            _inherit_cpuset(folder)
    return str(_tracking_hierarchy() / group_of(node) / "system")


def remove(node: str) -> None:
    """Kill every process of a node, containers included, and remove its groups."""
    root = _tracking_hierarchy() / group_of(node)
    deadline = time.monotonic() + END_SECONDS
    while pids := _pids_below(root):
        kill(pids)
        if time.monotonic() > deadline:
            message = f"{node}: processes {pids} could not be killed within {END_SECONDS} s"
            raise TimeoutError(message)
    for hierarchy in _hierarchies():
        folder = hierarchy / group_of(node)
        for child in sorted(folder.rglob("*/"), reverse=True):
            child.rmdir()
        if folder.exists():
            folder.rmdir()


def _hierarchies() -> list[Path]:
    if is_version_2():
        return [MOUNT]
    kinds = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in kinds if fields[2] == "cgroup"]


def _tracking_hierarchy() -> Path:
    return MOUNT if is_version_2() else MOUNT / "pids"


def _pids_below(folder: Path) -> list[int]:
    return [int(pid) for file in folder.rglob("cgroup.procs") for pid in file.read_text().split()]


def _enable_controllers(folder: Path) -> None:
    available = folder / "cgroup.controllers"
    if available.exists():
        wanted = [name for name in available.read_text().split() if name in {"cpu", "cpuset", "io", "memory", "pids"}]
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))


def _inherit_cpuset(folder: Path) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = folder / name
        if not is_version_2() and file.exists():
            file.write_text((folder.parent / name).read_text())
