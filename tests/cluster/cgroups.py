"""The control groups that hold the cluster's processes: how kubelets are kept apart, and how all is found and ended."""

import time
from pathlib import Path

from tests.cluster.ending import kill

MOUNT = Path("/sys/fs/cgroup")
PARENT = "finetune-operator"
END_SECONDS = 20
POLL_SECONDS = 0.02


def is_version_2() -> bool:
    """Whether this machine has the unified hierarchy only."""
    return (MOUNT / "cgroup.controllers").exists()


def path_of(group: str) -> str:
    """Return a group's path below each hierarchy."""
    return f"{PARENT}/{group}"


def create(group: str) -> str:
    """Make a group in every hierarchy, if it is not there, and return a folder that daemons can join.

    Two kubelets on one machine need a root group each, or one removes the other's pods. Daemons join a group below
    it, because with cgroup version 2 a group holds either processes or groups.
    """
    for hierarchy in _hierarchies():
        folder = hierarchy
        for name in (*path_of(group).split("/"), "system"):
            _enable_controllers(folder)
            folder = folder / name
            folder.mkdir(exist_ok=True)
            _inherit_cpuset(folder)
    return str(tracking_hierarchy() / path_of(group) / "system")


def join(folder: str, pid: int) -> None:
    """Put a process into the group whose folder `create` returned; its later children will be in there too."""
    try:
        (Path(folder) / "cgroup.procs").write_text(str(pid))
    except ProcessLookupError:
        return  # it ended already


def remove(group: str) -> None:
    """Kill every process of a group, containers included, and remove it."""
    _remove(path_of(group))


def remove_all() -> None:
    """Do the same with every group that was ever made here."""
    _remove(PARENT)


def _remove(path: str) -> None:
    deadline = time.monotonic() + END_SECONDS
    while True:
        kill(pids_below(path))
        try:
            for hierarchy in _hierarchies():
                _remove_folder(hierarchy / path)
        except OSError as error:
            # A process may join while this goes on, and one that ended counts until its parent has taken note.
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path}: still holds processes after {END_SECONDS} s of killing them") from error
            time.sleep(POLL_SECONDS)
        else:
            return


def pids_below(path: str) -> list[int]:
    """Return every process of the group of that path and of the groups in it."""
    return [pid for file in (tracking_hierarchy() / path).rglob("cgroup.procs") for pid in _pids_in(file)]


def _pids_in(file: Path) -> list[int]:
    try:
        return [int(pid) for pid in file.read_text().split()]
    except OSError:
        return []  # the group was removed meanwhile, by the kubelet or runc that made it


def _remove_folder(folder: Path) -> None:
    for child in sorted(folder.rglob("*/"), reverse=True):
        child.rmdir()
    if folder.exists():
        folder.rmdir()


def _hierarchies() -> list[Path]:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    # A machine may have both versions at once, and runc makes groups in the second one too.
    return [Path(fields[1]) for fields in mounts if fields[2] in {"cgroup", "cgroup2"}]


def tracking_hierarchy() -> Path:
    """Return the folder of the hierarchy in which every process is found."""
    return MOUNT if is_version_2() else MOUNT / "pids"


def _enable_controllers(folder: Path) -> None:
    available = folder / "cgroup.controllers"
    if available.exists():
        wanted = [name for name in available.read_text().split() if name in {"cpu", "cpuset", "io", "memory", "pids"}]
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))


def _inherit_cpuset(folder: Path) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = folder / name
        if not is_version_2() and file.exists() and not file.read_text().strip():
            file.write_text((folder.parent / name).read_text())
