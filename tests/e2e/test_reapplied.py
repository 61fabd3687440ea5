"""The same manifest applied again and again, as by a GitOps tool: neither API server nor operator writes anything."""

from collections.abc import Iterator

import pytest
import yaml

from tests.cluster import audit
from tests.e2e.conftest import quick_job
from tests.e2e.gang import events_with
from tests.e2e.states import in_phase
from tests.stack import jobs
from tests.stack.install import SYSTEM_NAMESPACE, Stack
from tests.stack.kubectl import Kubectl
from tests.stack.target import Target

pytestmark = pytest.mark.e2e
NAMESPACE = "finetune-reapplied"
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:finetune-operator"
TIMES = 100


@pytest.fixture(scope="module")
def namespace(stack: Stack, kube: Kubectl, target: Target) -> Iterator[str]:
    """A namespace of its own, so that the audit log tells what is written for one job."""
    if not target.is_ours:
        pytest.skip("needs the audit log of the cluster that this project starts itself, but KUBECONFIG names another")
    stack.namespace(NAMESPACE)
    yield NAMESPACE
    kube.run("delete", "namespace", NAMESPACE)


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_hundred_applies_of_the_same_manifest_write_nothing(kube: Kubectl, namespace: str, side: str) -> None:
    job = quick_job(side, suspend=True) | {"metadata": {"name": side, "namespace": namespace}}
    apply = ("apply", f"--server-side={str(side == 'server').lower()}", "-f", "-")
    kube.run(*apply, stdin=yaml.safe_dump(job))
    jobs.wait_until(kube, job, in_phase("Suspended"), seconds=1800)
    kube.run(*apply, stdin=yaml.safe_dump(job))
    before = kube.get(jobs.KIND, side, namespace=namespace)
    assert before is not None
    assert events_with(kube, before, "Suspended") == ["Suspended"]  # the last that the operator had to tell
    written = audit.count_writes(OPERATOR, namespace=namespace)

    printed = kube.run(*apply, stdin=yaml.safe_dump_all([job] * TIMES))

    after = kube.get(jobs.KIND, side, namespace=namespace)
    assert len(printed.splitlines()) == TIMES
    assert after == before
    assert audit.count_writes(OPERATOR, namespace=namespace) == written > 0
