"""Objects of strangers with labels of ours: the operator goes on, says so, and lives through its own restart."""

import re
from collections.abc import Callable, Iterator
from urllib.request import urlopen

import pytest

from finetune_api import keys
from tests.cluster.api import wait_until
from tests.e2e.conftest import quick_job
from tests.stack import jobs
from tests.stack.install import SYSTEM_NAMESPACE
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.e2e
NAMESPACE = "default"
NAME = "borrowed-labels"
LABELS = {keys.LABEL_JOB: "a", keys.LABEL_ROLE: "train", keys.LABEL_COMPLETION_INDEX: "abc"}


@pytest.fixture
def stranger(kube: Kubectl) -> Iterator[None]:
    """A Pod as anybody may make one, of which no node ever hears."""
    container = {"name": "main", "image": "none.example/none:0"}
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
            "spec": {"schedulerName": "nobody", "containers": [container]},
        }
    )
    yield
    kube.delete("pod", NAME, namespace=NAMESPACE)


def count_ignored(kube: Kubectl) -> float:
    """Return how many Pods the operator says that it cannot read."""
    with (
        kube.port_forward("deploy/finetune-operator", 8080, namespace=SYSTEM_NAMESPACE) as address,
        urlopen(f"{address}/metrics", timeout=10) as answer,
    ):
        found = re.search(
            r'^finetune_operator_ignored_objects\{reason="unreadable",resource="pods"\} (\S+)',
            answer.read().decode(),
            flags=re.MULTILINE,
        )
    return float(found[1]) if found else 0.0


@pytest.mark.usefixtures("own_operator", "stranger")
def test_a_pod_with_borrowed_labels_stops_neither_a_running_operator_nor_one_that_starts(
    kube: Kubectl, submit: Callable[[Manifest], Manifest]
) -> None:
    wait_until(lambda: count_ignored(kube) == 1.0, seconds=1800, what="it is told while the operator runs")
    kube.run("rollout", "restart", "deployment/finetune-operator", "-n", SYSTEM_NAMESPACE)
    kube.run("rollout", "status", "deployment/finetune-operator", "-n", SYSTEM_NAMESPACE, "--timeout=10m")
    wait_until(lambda: count_ignored(kube) == 1.0, seconds=1800, what="it is told by an operator that starts")

    end = jobs.wait_until_finished(kube, submit(quick_job("beside-a-stranger")), seconds=1800)

    assert end["status"]["phase"] == "Succeeded"
    assert kube.get("pod", NAME, namespace=NAMESPACE) is not None
