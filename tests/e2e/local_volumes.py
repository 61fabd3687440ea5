"""Volumes as most clusters have them: of one node, for one node, and of root."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import node
from tests.cluster.paths import VOLUMES
from tests.stack.kubectl import Kubectl, Manifest

NODE = node.NODES[0].name
CLASS = "local"
NUM_VOLUMES = 3
IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"


@contextmanager
def local_volumes(kube: Kubectl, *, is_default: bool = False) -> Iterator[None]:
    """Offer the class `local`: volumes that one node has and one node may use, until their first pod without a claim.

    Unlike those of the class `standard` they are folders that only root may enter: what opens them to a pod is its
    fsGroup. Claims must be gone at the end.
    """
    folders = {f"{CLASS}-{number}": VOLUMES.with_name(f"volume-{number}") for number in range(NUM_VOLUMES)}
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    kube.apply(_storage_class(is_default=is_default), *(_volume(name, str(path)) for name, path in folders.items()))
    try:
        yield
    finally:
        kube.run("delete", f"storageclass/{CLASS}", *(f"persistentvolume/{name}" for name in folders))
        for folder in folders.values():
            shutil.rmtree(folder)


def _storage_class(*, is_default: bool) -> Manifest:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {IS_DEFAULT: json.dumps(is_default)}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _volume(name: str, path: str) -> Manifest:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "4Gi"},
            "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
