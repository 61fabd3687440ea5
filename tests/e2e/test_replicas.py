"""Two operators: one works, the other takes over."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import quick_job
from tests.stack import jobs
from tests.stack.install import RELEASE, SYSTEM_NAMESPACE, install_chart
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = pytest.mark.e2e


@pytest.fixture
def two_operators(kube: Kubectl, target: Target) -> Iterator[None]:
    """Two replicas of the operator; one again afterwards."""
    kube.run("delete", "lease", RELEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found")  # of an earlier test run
    install_chart(target, replicas=2)
    yield
    install_chart(target)


def wait_for_holder(kube: Kubectl, holder: str = "") -> str:
    """Return the name of the pod that works, once one does, or once it is `holder`."""
    condition = "{.spec.holderIdentity}" + (f"={holder}" if holder else "")
    kube.run("wait", f"--for=jsonpath={condition}", f"lease/{RELEASE}", "-n", SYSTEM_NAMESPACE, "--timeout=60s")
    return kube.run("get", "lease", RELEASE, "-n", SYSTEM_NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}")


@pytest.mark.usefixtures("two_operators")
def test_a_second_operator_takes_over_when_the_one_that_works_is_lost(
    kube: Kubectl, submit: Callable[[Manifest], Manifest]
) -> None:
    lost = wait_for_holder(kube)
    pods = kube.find("pods", namespace=SYSTEM_NAMESPACE, selector="app.kubernetes.io/name=finetune-operator")
    (other,) = {pod["metadata"]["name"] for pod in pods} - {lost}

    kube.run("delete", "pod", lost, "-n", SYSTEM_NAMESPACE, "--grace-period=0", "--force", "--wait=false")
    wait_for_holder(kube, other)
    job = submit(jobs.change(quick_job("taken-over"), suspend=True))
    state = jobs.wait_until(kube, job, lambda state: "phase" in state.get("status", {}), seconds=60)

    assert state["status"]["phase"] == "Suspended"
