"""A pod that is run once on every node that was started: a node may be Ready and yet run none."""

from pathlib import Path
from typing import Any

from tests.cluster import api, node, system_images
from tests.cluster.node import Node, NodeError

SECONDS = 40
PODS = "/api/v1/namespaces/kube-system/pods"


def run(worker: Node, binaries: Path) -> None:
    """Run a pod on the node to its end, unless one did since the node's daemons were started.

    Raises:
        NodeError: it did not run in time.
    """
    life = node.life_of(worker)
    passed = worker.run / "canary"
    if passed.exists() and passed.read_text() == life:
        return
    pod = build_pod(worker.name, image=system_images.references(binaries).busybox)
    path = f"{PODS}/{pod['metadata']['name']}"
    _delete(path)
    try:
        api.wait_until(lambda: _create(pod), seconds=SECONDS, what=f"{worker.name}: a pod for it is accepted")
        api.wait_until(lambda: _phase(path) == "Succeeded", seconds=SECONDS, what=f"{worker.name}: runs a pod")
    except TimeoutError as error:
        raise NodeError(f"{error}; the pod's status: {_status(path)}") from error
    passed.write_text(life)
    _delete(path)


def build_pod(name: str, *, image: str) -> dict[str, Any]:
    """Return a pod of that node that ends at once."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"canary-{name}"},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": name},
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [{"name": "canary", "image": image, "command": ["echo", "ran"]}],
        },
    }


def _create(pod: dict[str, Any]) -> bool:
    """Whether the pod could be made: not before the namespace has its service account and an earlier pod is gone."""
    try:
        api.request("POST", PODS, body=pod)
    except OSError:
        return False
    return True


def _phase(path: str) -> str:
    return str(_status(path).get("phase", ""))


def _status(path: str) -> dict[str, Any]:
    try:
        status: dict[str, Any] = api.request("GET", path)["status"]
    except OSError as error:
        return {"error": str(error)}
    return status


def _delete(path: str) -> None:
    try:
        api.request("DELETE", f"{path}?gracePeriodSeconds=0")
    except OSError:
        return  # there is none
