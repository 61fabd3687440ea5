"""An operator that may look into some namespaces alone, by the chart's own Roles, on the real API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kubernetes.aio import client, config
from prometheus_client import CollectorRegistry

from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster
from finetune_operator.shell.freshness import Freshness
from finetune_operator.shell.informer import Informer
from finetune_operator.shell.kinds import FINETUNE_JOB, WATCHED
from finetune_operator.shell.queue import KeyedQueue
from finetune_operator.shell.telemetry import Telemetry
from finetune_operator.shell.wire import ApiError, Wire
from tests.api.conftest import MINIMAL
from tests.chart.conftest import helm
from tests.chart.helm import Helm, Manifest
from tests.operator.given import T0
from tests.stack.kubectl import Kubectl

__all__ = ["helm"]
pytestmark = pytest.mark.api_server

WATCHED_NAMESPACES = ("finetune-watched-1", "finetune-watched-2")
OTHER = "finetune-unwatched"
ACCOUNT = {"name": "watcher", "namespace": WATCHED_NAMESPACES[0]}


def roles(helm: Helm) -> list[Manifest]:
    """Return what the chart grants in the namespaces, to our account."""
    manifests = helm.render({"watchNamespaces": list(WATCHED_NAMESPACES)})
    subject = {"kind": "ServiceAccount", **ACCOUNT}
    bindings = [one | {"subjects": [subject]} for one in manifests if one["kind"] == "RoleBinding"]
    return [*(one for one in manifests if one["kind"] == "Role"), *bindings]


@pytest.fixture(scope="module")
def kubeconfig(kubectl: Kubectl, helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """That of an account with these rights and no others."""
    namespaces = (*WATCHED_NAMESPACES, OTHER)
    kubectl.apply(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in namespaces),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": ACCOUNT},
        *roles(helm),
    )
    content = json.loads(kubectl.run("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    token = kubectl.run("create", "token", ACCOUNT["name"], "-n", ACCOUNT["namespace"]).strip()
    content["users"][0]["user"] = {"token": token}
    path = tmp_path_factory.mktemp("kube") / "config"
    path.write_text(json.dumps(content))
    yield path
    kubectl.run("delete", "namespace", *namespaces)


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    configuration = client.Configuration()
    await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    found = Cluster(Wire(client.ApiClient(configuration)))
    yield found
    await found.close()


def an_informer() -> Informer:
    loop = asyncio.get_running_loop()
    return Informer(
        cache=Cache(now=lambda: T0),
        queue=KeyedQueue(call_later=loop.call_later, jitter=lambda: 0.0, clock=loop.time),
        freshness=Freshness(clock=loop.time, is_by_namespace=True),
        telemetry=Telemetry(CollectorRegistry(), version="0"),
        namespaces=WATCHED_NAMESPACES,
        resync_seconds=600,
    )


def namespace_of(informer: Informer, uid: str) -> str:
    found = informer.cache.job(uid)
    assert found is not None
    return str(found["metadata"]["namespace"])


async def test_jobs_of_every_watched_namespace_are_seen_and_those_of_no_other(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    informer = an_informer()
    await informer.begin(cluster)
    watches = [
        asyncio.create_task(informer.follow(cluster, kind, namespace))
        for kind in WATCHED
        for namespace in WATCHED_NAMESPACES
    ]
    seen: set[str] = set()

    for namespace in (OTHER, *WATCHED_NAMESPACES):
        job = MINIMAL | {
            "metadata": {"name": "job", "namespace": namespace},
            "spec": MINIMAL["spec"] | {"suspend": True},
        }
        await asyncio.to_thread(kubectl.apply, job)
    async with asyncio.timeout(300):
        while not seen >= set(WATCHED_NAMESPACES):
            uid, _ = await informer.queue.get()
            seen.add(namespace_of(informer, uid))
            informer.queue.done(uid)
    started = an_informer()
    await started.begin(cluster)
    with pytest.raises(ApiError, match="cannot list resource") as refused:
        await anext(cluster.pages(FINETUNE_JOB))
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)

    assert seen == set(WATCHED_NAMESPACES)
    assert {namespace_of(started, uid) for uid in started.cache.uids()} == set(WATCHED_NAMESPACES)
    assert refused.value.status == 403
