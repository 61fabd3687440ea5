"""A volume with an end, and a job that comes to it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

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


def fill(file: Path) -> None:
    """Let a file take all that is left where it lies; somebody else writes there, too."""
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))


def test_a_volume_that_is_full_ends_the_job_and_keeps_its_checkpoints(
    kube: Kubectl, small_claim: Path, submit: Submit
) -> None:
    job = submit(long_job("full", publish=None, storage={"existingClaim": SMALL}))
    jobs.wait_until(kube, job, has_checkpoint, seconds=1800)

    for state in jobs.watch(kube, job, seconds=1800):
        fill(small_claim / "somebody-elses")  # also with what an older checkpoint leaves when it goes
        if jobs.is_finished(state):
            break
    failed = state["status"]
    kept = [place.name for place in small_claim.rglob("checkpoints/*") if place.is_dir()]

    told = jobs.condition({"status": failed}, "Succeeded")
    assert (failed["phase"], told["reason"], failed["attempt"]) == ("Failed", "StorageFull", 1), told
    assert [name for name in kept if str(failed["checkpoint"]["step"]) in name], kept
