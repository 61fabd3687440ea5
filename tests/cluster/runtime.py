"""A node's containerd: started with nothing left over from an earlier life but its images."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import api, processes

NAMESPACE = "k8s.io"
START_SECONDS = 60


def start(node: str, *, folder: Path, run: Path) -> None:
    """Start the node's containerd; containers of which it still knows are forgotten first."""
    name = f"{node}-containerd"
    command: list[str | Path] = ["containerd", "--config", folder / "containerd.toml"]
    processes.start(name, command, group=node)
    _wait(name, run)
    if _forget_containers(run):
        processes.stop(name)  # its CRI part holds in memory what it read at its start
        processes.start(name, command, group=node)
        _wait(name, run)
    if not _list(run, "images", "name~=pause"):
        import_archive(run, folder.parent / "system-images.tar")


def import_archive(run: Path, archive: Path) -> None:
    """Load a tar of images into the node's store."""
    _ctr(run, "images", "import", "--no-unpack", str(archive))


def sync_images(run: Path, wanted: Sequence[str], *, prefix: str, binaries: Path) -> None:
    """Give the node's store exactly the wanted ones of the images whose names begin with `prefix`."""
    subprocess.run([binaries / "sync-images", f"unix://{run}/containerd.sock", prefix, *wanted], check=True)


def _wait(name: str, run: Path) -> None:
    def answers() -> bool:
        return subprocess.run([*_command(run), "version"], check=False, capture_output=True).returncode == 0

    try:
        api.wait_until(answers, seconds=START_SECONDS, what=f"{name} answers")
    except TimeoutError as error:
        message = f"{error}; the end of its log:\n{processes.tail(name)}"
        raise SystemExit(message) from error


def _forget_containers(run: Path) -> bool:
    containers = _list(run, "containers")
    if containers:
        _ctr(run, "containers", "rm", *containers)
    return bool(containers)


def _list(run: Path, kind: str, *filters: str) -> list[str]:
    return _ctr(run, kind, "ls", "--quiet", *filters).split()


def _command(run: Path) -> list[str]:
    return ["ctr", "--address", str(run / "containerd.sock"), "--namespace", NAMESPACE]


def _ctr(run: Path, *arguments: str) -> str:
    command = [*_command(run), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
