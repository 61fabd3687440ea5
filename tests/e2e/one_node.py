"""The test cluster as most people have one: one node, no accelerators, volumes of that node that root owns."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import node
from tests.e2e.local_volumes import IS_DEFAULT, local_volumes
from tests.stack.kubectl import Kubectl

OTHER = node.NODES[1].name


@contextmanager
def one_node(kube: Kubectl) -> Iterator[None]:
    """Have one node for new pods, no GPU on any, and by default `local` volumes and no others."""
    _be_default(kube, "standard", is_default=False)
    kube.run("cordon", OTHER)
    for worker in node.NODES:
        none = {"status": {"capacity": {node.GPU: None}, "allocatable": {node.GPU: None}}}
        kube.run("patch", "node", worker.name, "--subresource=status", "-p", json.dumps(none))
    try:
        with local_volumes(kube, is_default=True):
            yield
    finally:
        for worker in node.NODES:
            node.offer_gpus(worker)
        kube.run("uncordon", OTHER)
        _be_default(kube, "standard", is_default=True)


def _be_default(kube: Kubectl, name: str, *, is_default: bool) -> None:
    kube.run("annotate", "storageclass", name, f"{IS_DEFAULT}={json.dumps(is_default)}", "--overwrite")
