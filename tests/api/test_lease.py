"""The Lease that replicas of the operator share, on the real API server, by clocks that the tests move."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import pytest
from kubernetes.aio import client, config
from kubernetes.aio.leaderelection import leaderelection

from finetune_operator.shell.leader import LEASE_SECONDS, Leadership, LeaseLostError
from tests.stack.kubectl import Kubectl

pytestmark = pytest.mark.api_server
NAMESPACE = "default"
LEASE = "finetune-operator-test"
#: How long a machine may take for anything.
PATIENCE_SECONDS = 300
#: The library reads no time back that has no parts of seconds.
NOW = 1_800_000_000.5


@pytest.fixture
async def api(kubectl: Kubectl) -> AsyncIterator[client.ApiClient]:
    """A client of the cluster; the test's Lease is gone before and after."""
    configuration = client.Configuration()
    await config.load_kube_config(kubectl.kubeconfig, client_configuration=configuration)
    kubectl.delete("lease", LEASE, namespace=NAMESPACE)
    async with client.ApiClient(configuration) as connected:
        yield connected
    kubectl.delete("lease", LEASE, namespace=NAMESPACE)


def set_clock(monkeypatch: pytest.MonkeyPatch, read: Callable[[], float]) -> None:
    """Let replicas read this clock, in seconds since 1970."""
    monkeypatch.setattr(leaderelection, "time", SimpleNamespace(time=read))


def a_replica(api: client.ApiClient, identity: str) -> Leadership:
    """Return one that tries again at once."""
    found = Leadership(api, namespace=NAMESPACE, lease=LEASE, identity=identity)
    found._election.election_config.retry_period = 0.05
    return found


async def holder(kubectl: Kubectl) -> str:
    path = "jsonpath={.spec.holderIdentity}"
    return await asyncio.to_thread(kubectl.run, "get", "lease", LEASE, "-n", NAMESPACE, "-o", path)


async def test_one_of_two_works_and_the_other_does_when_it_is_gone(
    api: client.ApiClient, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [NOW]
    set_clock(monkeypatch, lambda: clock[0])
    first, second = a_replica(api, "first"), a_replica(api, "second")

    async def have_both_seen_it() -> None:
        """Return once the one has renewed the Lease by the clock of now, and the other knows."""
        while {one._election.observed_time_milliseconds for one in (first, second)} != {int(clock[0] * 1000)}:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)

    async with asyncio.timeout(PATIENCE_SECONDS):
        working = asyncio.create_task(first.run())
        await first.held.wait()
        waiting = asyncio.create_task(second.run())
        for _ in range(3):  # for longer than the Lease is kept without being renewed
            clock[0] += LEASE_SECONDS - 1
            await have_both_seen_it()
        assert not second.held.is_set()
        assert await holder(kubectl) == "first"
        working.cancel()
        clock[0] += LEASE_SECONDS + 1
        await second.held.wait()

    assert await holder(kubectl) == "second"
    waiting.cancel()


async def test_one_that_cannot_renew_the_lease_ends(
    api: client.ApiClient, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(NOW)  # a second goes by each time that somebody looks
    set_clock(monkeypatch, lambda: next(seconds))
    leadership = a_replica(api, "cut off")
    working = asyncio.create_task(leadership.run())
    await asyncio.wait_for(leadership.held.wait(), PATIENCE_SECONDS)

    api.configuration.host = "https://127.0.0.1:1"

    with pytest.raises(LeaseLostError, match="not renewed in time"):
        await asyncio.wait_for(working, PATIENCE_SECONDS)
    assert await holder(kubectl) == "cut off"
