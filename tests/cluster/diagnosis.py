"""What to know of a cluster on which something did not happen in time: it goes into the error that says so."""

import json
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tests.cluster import binaries, disk, node, paths, processes, runtime, system_images

MAX_LINES = 40
MAX_COLUMNS = 300
Kubectl = Callable[..., str]
Section = tuple[str, Callable[[], str]]


def of_cluster(kubectl: Kubectl) -> str:
    """Return pods, events and nodes of any cluster; `kubectl` returns what the program prints for its arguments."""
    events = ("get", "events", "-A", "--field-selector=type!=Normal", "--sort-by=.lastTimestamp")
    return _join(
        [
            ("pods", lambda: kubectl("get", "pods", "-A", "-o", "wide")),
            ("events that are not normal", lambda: kubectl(*events)),
            ("nodes", lambda: describe_nodes(json.loads(kubectl("get", "nodes", "-o", "json"))["items"])),
        ]
    )


def of_machine() -> str:
    """Return disk, nodes' images and the ends of their daemons' logs, of the cluster that this project starts."""
    sections: list[Section] = [("disk", lambda: disk.describe(paths.CACHE))]
    for worker in node.NODES:
        sections.append((f"images of {worker.name}", partial(_describe_images, worker)))
        for daemon in ("kubelet", "containerd"):
            name = f"{worker.name}-{daemon}"
            sections.append((f"end of {name}.log", partial(processes.tail, name, lines=MAX_LINES)))
    return _join(sections)


def of_own_cluster() -> str:
    """Return both for the cluster that this project starts."""
    return f"{of_cluster(_kubectl)}\n{of_machine()}"


def describe_nodes(nodes: Sequence[dict[str, Any]]) -> str:
    """Return a line per node: conditions, taints and accelerators."""
    return "\n".join(_describe_node(entry) for entry in nodes)


def _describe_node(entry: dict[str, Any]) -> str:
    conditions = " ".join(f"{item['type']}={item['status']}" for item in entry["status"].get("conditions", []))
    taints = " ".join(f"{taint['key']}:{taint['effect']}" for taint in entry["spec"].get("taints", []))
    gpus = entry["status"].get("allocatable", {}).get(node.GPU, "none")
    return f"{entry['metadata']['name']}: {conditions}; taints: {taints or 'none'}; {node.GPU}: {gpus}"


def _describe_images(worker: node.Node) -> str:
    tags = runtime.image_tags(worker.run, binaries.folder())
    missing = [tag for tag in system_images.references(binaries.folder()) if tag not in tags]
    return "\n".join([*sorted(tags), *(f"{tag} IS MISSING" for tag in missing)])


def _join(sections: Sequence[Section]) -> str:
    return "\n".join(f"--- {title}\n{_cut(_read(read))}" for title, read in sections)


def _read(read: Callable[[], str]) -> str:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - an error is being reported, and this must not hide it
        return f"(cannot be read: {error})"


def _cut(text: str) -> str:
    lines = text.splitlines() or ["(none)"]
    left_out = [f"({len(lines) - MAX_LINES} earlier lines)"] if len(lines) > MAX_LINES else []
    return "\n".join([*left_out, *(line[:MAX_COLUMNS] for line in lines[-MAX_LINES:])])


def _kubectl(*arguments: str) -> str:
    command = [str(binaries.folder() / "kubectl"), f"--kubeconfig={paths.KUBECONFIG}", "--request-timeout=10s"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout
