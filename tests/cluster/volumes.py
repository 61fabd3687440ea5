"""The storage class `standard`: a folder of the machine per claim, shared by all nodes."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import api, mounts, processes
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


@contextmanager
def limited(name: str, *, megabytes: int) -> Iterator[Path]:
    """Yield a folder that takes so much and no more, for a volume that has no other end."""
    folder = VOLUMES.with_name(f"{VOLUMES.name}-{name}")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=1777", name, folder], check=True)
    try:
        yield folder
    finally:
        mounts.delete(folder)


def stop() -> None:
    """Stop the provisioner and delete all volumes' contents."""
    processes.stop(NAME)
    shutil.rmtree(VOLUMES, ignore_errors=True)
