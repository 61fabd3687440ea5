"""The storage class `standard`: a folder of the machine per claim, shared by all nodes."""

import shutil
from pathlib import Path

from tests.cluster import api, processes
from tests.cluster.certificates import kubeconfig_of
from tests.cluster.paths import VOLUMES

NAME = "volumes"
STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "finetune-operator.test/shared-folder",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}


def start(binaries: Path) -> None:
    """Offer the storage class and start its provisioner (go/volumes) if it does not run."""
    VOLUMES.mkdir(parents=True, exist_ok=True)
    api.apply("/apis/storage.k8s.io/v1/storageclasses/standard", STORAGE_CLASS)
    command: list[str | Path] = [binaries / "volumes", f"-root={VOLUMES}", f"-kubeconfig={kubeconfig_of(NAME)}"]
    processes.start(NAME, command)


def stop() -> None:
    """Stop the provisioner and delete all volumes' contents."""
    processes.stop(NAME)
    shutil.rmtree(VOLUMES, ignore_errors=True)
