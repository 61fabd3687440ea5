"""A volume with an end, and a job that comes to it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import disk_usage

import pytest

from tests.cluster import volumes
from tests.e2e.conftest import NAMESPACE, long_job
from tests.e2e.states import has_checkpoint
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = [pytest.mark.e2e, pytest.mark.longer]
Submit = Callable[[Manifest], Manifest]
SMALL = "small"


@pytest.fixture
def small_claim(kube: Kubectl, target: Target) -> Iterator[Path]:
    """A claim of that name, of a volume with an end; yields the volume's folder."""
    if not target.is_ours:
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    with volumes.limited(SMALL, megabytes=64) as folder:
        volume = {"capacity": {"storage": "64Mi"}, "hostPath": {"path": str(folder)}}
        claim = {"volumeName": SMALL, "resources": {"requests": {"storage": "64Mi"}}}
        kube.apply(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": SMALL}, "spec": spec | volume},
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": SMALL, "namespace": NAMESPACE},
                "spec": spec | claim,
            },
        )
        yield folder
        kube.delete("persistentvolumeclaim", SMALL, namespace=NAMESPACE)
        kube.delete("persistentvolume", SMALL, namespace=NAMESPACE)


def test_a_volume_that_is_full_ends_the_job_and_keeps_its_checkpoints(
    kube: Kubectl, small_claim: Path, submit: Submit
) -> None:
    job = submit(long_job("full", publish=None, storage={"existingClaim": SMALL}))
    jobs.wait_until(kube, job, has_checkpoint, seconds=600)

    (small_claim / "somebody-elses").write_bytes(bytes(disk_usage(small_claim).free))
    failed = jobs.wait_until_finished(kube, job, seconds=300)["status"]
    kept = [place.name for place in small_claim.rglob("checkpoints/*") if place.is_dir()]

    told = jobs.condition({"status": failed}, "Succeeded")
    assert (failed["phase"], told["reason"], failed["attempt"]) == ("Failed", "StorageFull", 1), told
    assert [name for name in kept if str(failed["checkpoint"]["step"]) in name], kept
