"""The Lease that replicas of the operator share, on the real API server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from kubernetes.aio import client, config

from finetune_operator.shell.leader import Leadership, LeaseLostError
from tests.stack.kubectl import Kubectl

pytestmark = pytest.mark.api_server
NAMESPACE = "default"
LEASE = "finetune-operator-test"


@pytest.fixture
async def api(kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[client.ApiClient]:
    """A client of the cluster; Leases are kept for seconds only, and the test's is gone before and after."""
    for name, seconds in {"LEASE_SECONDS": 4, "RENEW_SECONDS": 3, "RETRY_SECONDS": 1}.items():
        monkeypatch.setattr(f"finetune_operator.shell.leader.{name}", seconds)
    configuration = client.Configuration()
    await config.load_kube_config(kubectl.kubeconfig, client_configuration=configuration)
    kubectl.delete("lease", LEASE, namespace=NAMESPACE)
    async with client.ApiClient(configuration) as connected:
        yield connected
    kubectl.delete("lease", LEASE, namespace=NAMESPACE)


def holder(kubectl: Kubectl) -> str:
    return kubectl.run("get", "lease", LEASE, "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}")


async def test_one_of_two_works_and_the_other_does_when_it_is_gone(api: client.ApiClient, kubectl: Kubectl) -> None:
    first, second = (Leadership(api, namespace=NAMESPACE, lease=LEASE, identity=name) for name in ("first", "second"))

    working = asyncio.create_task(first.run())
    await first.held.wait()
    waiting = asyncio.create_task(second.run())
    with pytest.raises(TimeoutError):  # longer than the Lease is kept without being renewed
        await asyncio.wait_for(second.held.wait(), timeout=6)
    assert holder(kubectl) == "first"
    working.cancel()
    await asyncio.wait_for(second.held.wait(), timeout=30)

    assert holder(kubectl) == "second"
    waiting.cancel()


async def test_one_that_cannot_renew_the_lease_ends(api: client.ApiClient, kubectl: Kubectl) -> None:
    leadership = Leadership(api, namespace=NAMESPACE, lease=LEASE, identity="cut off")
    working = asyncio.create_task(leadership.run())
    await leadership.held.wait()

    api.configuration.host = "https://127.0.0.1:1"

    with pytest.raises(LeaseLostError, match="not renewed in time"):
        await asyncio.wait_for(working, timeout=30)
    assert holder(kubectl) == "cut off"
