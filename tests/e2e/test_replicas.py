"""Two operators: one works, the other takes over."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import quick_job
from tests.e2e.gang import OPERATOR
from tests.stack import jobs
from tests.stack.install import RELEASE, SYSTEM_NAMESPACE, install_chart, run_helm
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = [pytest.mark.e2e, pytest.mark.alone]
AT_ONCE = ("--grace-period=0", "--force", "--wait=false")


@pytest.fixture(scope="module")
def two_operators(kube: Kubectl, target: Target) -> Iterator[None]:
    """Two replicas of the operator; one again afterwards."""
    kube.run("delete", "lease", RELEASE, "-n", SYSTEM_NAMESPACE, "--ignore-not-found")  # of an earlier test run
    install_chart(target, replicas=2)
    yield
    install_chart(target)


def wait_for_holder(kube: Kubectl, *, other_than: str = "") -> str:
    """Return the name of the pod that works, once one does that is not `other_than`."""
    for lease in kube.watch("lease", RELEASE, namespace=SYSTEM_NAMESPACE, seconds=1800):
        holder = str(lease["spec"].get("holderIdentity", ""))
        if holder not in ("", other_than):
            return holder
    raise AssertionError("unreachable")


@pytest.mark.usefixtures("two_operators")
def test_helm_test_reaches_the_operator_and_a_drain_may_take_one_of_two(kube: Kubectl, target: Target) -> None:
    run_helm(target, "test", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--timeout", "10m")

    allowed = "--for=jsonpath={.status.disruptionsAllowed}=1"
    kube.run("wait", "poddisruptionbudgets", "-l", OPERATOR, "-n", SYSTEM_NAMESPACE, allowed, "--timeout=10m")


@pytest.mark.usefixtures("two_operators")
def test_a_second_operator_takes_over_when_the_one_that_works_is_lost(
    kube: Kubectl, submit: Callable[[Manifest], Manifest]
) -> None:
    lost = wait_for_holder(kube)

    kube.run("delete", "pod", lost, "-n", SYSTEM_NAMESPACE, *AT_ONCE, "--ignore-not-found")
    wait_for_holder(kube, other_than=lost)  # the one that waited, or the one that came in place of the lost one
    job = submit(jobs.change(quick_job("taken-over"), suspend=True))
    state = jobs.wait_until(kube, job, lambda state: "phase" in state.get("status", {}), seconds=1800)

    assert state["status"]["phase"] == "Suspended"
