"""A node's containerd: started with nothing left over from an earlier life but its images."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import api, processes, system_images

NAMESPACE = "k8s.io"
START_SECONDS = 60
IMPORT_SECONDS = 20


class RuntimeFailedError(Exception):
    """A node's containerd does not do what it must; the message says what and shows the end of its log."""


def start(node: str, *, folder: Path, run: Path, binaries: Path) -> None:
    """Start the node's containerd; containers of which it still knows are forgotten first.

    Raises:
        RuntimeFailedError: it does not get ready to run containers.
    """
    name = f"{node}-containerd"
    command: list[str | Path] = ["containerd", "--config", folder / "containerd.toml"]
    processes.start(name, command, group=node)
    _wait(name, run, binaries)
    if _forget_containers(run):
        processes.stop(name)  # its CRI part holds in memory what it read at its start
        processes.start(name, command, group=node)
        _wait(name, run, binaries)


def ensure_system_images(run: Path, binaries: Path) -> None:
    """Have the images that cannot be pulled known to the runtime as the kubelet asks it; none of other contents.

    Raises:
        RuntimeFailedError: they were loaded, but the runtime does not know them.
    """
    wanted = system_images.references(binaries)
    if _has(run, wanted, binaries):
        return
    load_images(run, wanted, archive=system_images.write_archive(binaries), binaries=binaries)
    sync_images(run, wanted, prefix=system_images.PREFIX, binaries=binaries)


def load_images(run: Path, wanted: Sequence[str], *, archive: Path, binaries: Path) -> None:
    """Load the images of an archive, which are the wanted ones, and wait until the runtime knows them.

    Raises:
        RuntimeFailedError: they were loaded, but the runtime does not know them.
    """
    try:
        _ctr(run, "images", "import", "--no-unpack", str(archive))
        api.wait_until(lambda: _has(run, wanted, binaries), seconds=IMPORT_SECONDS, what=f"{', '.join(wanted)}: known")
    except (subprocess.CalledProcessError, TimeoutError) as error:
        raise RuntimeFailedError(f"{run.name}: {error}") from error


def image_tags(run: Path, binaries: Path) -> list[str]:
    """Return the tags of the images that a kubelet would find on the node."""
    return _cri(run, binaries, "images").split()


def sync_images(run: Path, wanted: Sequence[str], *, prefix: str, binaries: Path) -> None:
    """Give the node's store exactly the wanted ones of the images whose names begin with `prefix`."""
    _cri(run, binaries, "sync", prefix, *wanted)


def delete_shim_sockets(run: Path) -> None:
    """Delete the sockets of the node's containers' shims, which containerd keeps in a folder of the whole machine."""
    for address in (run / "containerd" / "io.containerd.runtime.v2.task" / NAMESPACE).glob("*/address"):
        Path(address.read_text().strip().removeprefix("unix://")).unlink(missing_ok=True)


def _has(run: Path, wanted: Sequence[str], binaries: Path) -> bool:
    return set(wanted) <= set(image_tags(run, binaries))


def _wait(name: str, run: Path, binaries: Path) -> None:
    def is_ready() -> bool:
        # Its own version is answered while the part that runs pods is still reading what an earlier life left.
        command = _cri_command(run, binaries, "ready")
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    try:
        api.wait_until(is_ready, seconds=START_SECONDS, what=f"{name} ready")
    except TimeoutError as error:
        raise RuntimeFailedError(f"{error}; the end of its log:\n{processes.tail(name)}") from error


def _forget_containers(run: Path) -> bool:
    containers = _list(run, "containers")
    if containers:
        _ctr(run, "containers", "rm", *containers)
    leases = _list(run, "leases")  # of pulls that were cut short: they hold on to what no image has
    if leases:
        _ctr(run, "leases", "rm", *leases)
    return bool(containers)


def _list(run: Path, kind: str) -> list[str]:
    return _ctr(run, kind, "ls", "--quiet").split()


def _ctr(run: Path, *arguments: str) -> str:
    command = ["ctr", "--address", str(run / "containerd.sock"), "--namespace", NAMESPACE, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _cri_command(run: Path, binaries: Path, command: str, *arguments: str) -> list[str]:
    return [str(binaries / "cri"), command, f"unix://{run}/containerd.sock", *arguments]


def _cri(run: Path, binaries: Path, command: str, *arguments: str) -> str:
    done = subprocess.run(
        _cri_command(run, binaries, command, *arguments), check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout
