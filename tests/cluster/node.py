"""One worker node: a containerd and a kubelet of its own, with their configuration, start and end."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import api, cgroups, mounts, network, node_configuration, processes, runtime
from tests.cluster.paths import CLUSTER, RUN

NUM_GPUS = 8
GPU = "nvidia.com/gpu"
READY_SECONDS = 300
PATCH = "application/strategic-merge-patch+json"


class NodeError(Exception):
    """A node cannot be used; the message says what it did not do."""


@dataclass(frozen=True)
class Node:
    """A worker node of the cluster; `index` counts from 0 and gives it its ports and addresses."""

    name: str
    index: int

    @property
    def folder(self) -> Path:
        """Where its image store and kubelet's files are; the image store outlives the cluster."""
        return CLUSTER / self.name

    @property
    def run(self) -> Path:
        """Where its sockets and its containers' mounts are."""
        return RUN / self.name


NODES = (Node("node-1", 0), Node("node-2", 1))


def named(name: str) -> Node:
    """Return the node of that name.

    Raises:
        SystemExit: there is none.
    """
    for node in NODES:
        if node.name == name:
            return node
    message = f"node: {name!r} is not a node of this cluster; take one of {', '.join(node.name for node in NODES)}"
    raise SystemExit(message)


def start(node: Node, binaries: Path) -> None:
    """Start what of the node does not run, with the images that pods stand on; does not wait until it is ready.

    Raises:
        NodeError: its containerd does not start or does not take the images.
    """
    try:
        if not is_running(node):
            _start_runtime(node, binaries)
        runtime.ensure_system_images(node.run, binaries)
    except (runtime.RuntimeFailedError, subprocess.CalledProcessError) as error:
        raise NodeError(f"{node.name}: {error}") from error
    _start_kubelet(node, binaries)


def _start_runtime(node: Node, binaries: Path) -> None:
    stop(node)
    node_configuration.write(node.name, index=node.index, folder=node.folder, run=node.run, binaries=binaries)
    runtime.start(node.name, folder=node.folder, run=node.run, binaries=binaries)
    _mark_unknown(node)


def _start_kubelet(node: Node, binaries: Path) -> None:
    kubelet: list[str | Path] = [
        binaries / "kubelet",
        f"--config={node.folder / 'kubelet.yaml'}",
        f"--kubeconfig={node_configuration.kubeconfig(node.name)}",
        f"--hostname-override={node.name}",
        f"--node-ip={node_configuration.ADDRESS}",
        f"--root-dir={node.folder / 'kubelet'}",
    ]
    processes.start(f"{node.name}-kubelet", kubelet, group=node.name)


def wait_until_ready(node: Node, binaries: Path) -> None:
    """Wait until the node is Ready, and give it its GPUs if it has none, which a starting kubelet sees to.

    A kubelet that ends is started again, as a service manager does: it gives up where containerd already answers, but
    the part of it that runs pods is "not initialized yet".

    Raises:
        NodeError: it was not Ready in time.
    """

    def answers() -> bool:
        _start_kubelet(node, binaries)
        return is_ready(node)

    try:
        api.wait_until(answers, seconds=READY_SECONDS, what=f"{node.name} ready")
    except TimeoutError as error:
        message = f"{error}; the end of its kubelet's log:\n{processes.tail(f'{node.name}-kubelet')}"
        raise NodeError(message) from error
    offer_gpus(node)


def offer_gpus(node: Node) -> None:
    """Give the node its GPUs if it has none, as a device plugin would."""
    if num_gpus(node) == NUM_GPUS:
        return
    patch = {"status": {"capacity": {GPU: str(NUM_GPUS)}, "allocatable": {GPU: str(NUM_GPUS)}}}
    api.request("PATCH", _status_path(node), body=patch, content_type=PATCH)


def _mark_unknown(node: Node) -> None:
    """Take back the Ready of the node's earlier life, so that the next one is the word of its new kubelet."""
    condition = {"type": "Ready", "status": "Unknown", "reason": "NodeRestarted"}
    try:
        api.request("PATCH", _status_path(node), body={"status": {"conditions": [condition]}}, content_type=PATCH)
    except OSError:
        return  # it never joined


def _status_path(node: Node) -> str:
    return f"/api/v1/nodes/{node.name}/status"


def is_running(node: Node) -> bool:
    """Whether both of its daemons live."""
    return all(processes.is_running(f"{node.name}-{daemon}") for daemon in ("containerd", "kubelet"))


def num_gpus(node: Node) -> int:
    """Return how many GPUs pods of the node may ask for."""
    return int(api.request("GET", f"/api/v1/nodes/{node.name}")["status"].get("allocatable", {}).get(GPU, 0))


def life_of(node: Node) -> str:
    """Return a text that is another one after each start of one of its daemons."""
    return "".join(processes.life_of(f"{node.name}-{daemon}") for daemon in ("containerd", "kubelet"))


def is_ready(node: Node) -> bool:
    """Whether the API server holds the node to be Ready, by word of the kubelet that runs now."""
    try:
        status = api.request("GET", f"/api/v1/nodes/{node.name}")["status"]
    except OSError:
        return False
    ready = [condition["status"] for condition in status.get("conditions", []) if condition["type"] == "Ready"]
    return ready == ["True"]


def stop(node: Node) -> None:
    """End the node as a power cut would: every process at once, nothing said to the API server."""
    cgroups.remove(node.name)
    for daemon in ("kubelet", "containerd"):
        processes.stop(f"{node.name}-{daemon}")
    runtime.delete_shim_sockets(node.run)
    mounts.delete(node.run)
    mounts.delete(node.folder / "kubelet")
    mounts.unmount_below(node.folder)  # an unpacking that was cut short
    network.remove_device(network.bridge_of(node.name))


def delete_images(node: Node) -> None:
    """Empty the image store of a stopped node."""
    mounts.delete(node.folder / "containerd")
