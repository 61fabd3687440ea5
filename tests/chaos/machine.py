"""What is harmed below Kubernetes: processes of pods, daemons, and the network between operator and ranks."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import binaries, cgroups, control_plane, dns, node, paths, processes, volumes
from tests.cluster.ending import kill
from tests.cluster.node import Node, NodeError
from tests.stack.kubectl import Manifest


def pids_of(pod: Manifest) -> list[int]:
    """Return the processes of a pod's containers, none of them if it has ended."""
    place, uid = pod["spec"].get("nodeName", ""), pod["metadata"]["uid"]
    folders = (cgroups.tracking_hierarchy() / cgroups.path_of(place)).glob(f"kubepods/**/pod{uid}")
    found = [pid for folder in folders for pid in cgroups.pids_below(str(folder))]
    return sorted(pid for pid in found if _words(pid)[:1] != [b"/pause"])


def kill_all(pids: Iterable[int]) -> int:
    """Kill processes at once; return how many there were."""
    found = [*pids]
    kill(found)
    return len(found)


def send(sent: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to those that still are."""
    for pid in pids:
        try:
            os.kill(pid, sent)
        except ProcessLookupError:
            continue


def kill_daemon(name: str) -> bool:
    """Kill one of the cluster's own programs, as a crash would; False if it does not run."""
    pid = processes.pid_of(name)
    return pid is not None and kill_all([pid]) == 1


def start_control_plane() -> None:
    """Start what of it does not run, and what ends itself where there is no API server."""
    with paths.exclusive("cluster"):
        built = binaries.folder()
        control_plane.start(built)
        dns.start(built)
        volumes.start(built)


def start_kubelet(worker: Node) -> None:
    """Start the kubelet of a node whose containers went on without it; one without power gets it with all the rest."""
    if not processes.is_running(f"{worker.name}-containerd"):
        return
    with paths.exclusive("cluster"):
        try:
            node.wait_until_ready(worker, binaries.folder())
        except NodeError as error:
            raise OSError(str(error)) from error


def offer_gpus() -> None:
    """Give nodes back the GPUs that a starting kubelet has taken from them, as their device plugin would."""
    for worker in node.NODES:
        try:
            node.offer_gpus(worker)
        except OSError:
            continue  # the API server is away


def _words(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
