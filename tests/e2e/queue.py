"""A real Kueue on the test cluster, for the tests that need one, and what is queued in it."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster import binaries, kueue, system_images
from tests.cluster.api import wait_until
from tests.e2e.gang import build_idle_container
from tests.stack.install import Stack, run_helm
from tests.stack.kubectl import Kubectl, KubectlError, Manifest

RELEASE = SYSTEM = "kueue-system"
NAMESPACE = "finetune-queued"
#: It has no queue, though Kueue holds every Job there.
QUEUELESS = "finetune-queueless"
QUEUE = "accelerators"
#: Kueue puts Jobs that name no queue into one of this name.
DEFAULT_QUEUE = "default"
WORKLOAD = "workloads.kueue.x-k8s.io"
URGENT = "urgent"
API = "kueue.x-k8s.io/v1beta2"
#: As many as one job of the tests has ranks: of two gangs one waits.
NUM_ACCELERATORS = 2
RESOURCES = ("cpu", "memory", "nvidia.com/gpu")


@contextmanager
def running_kueue(stack: Stack) -> Iterator[None]:
    """Have Kueue, which takes every Job of the two namespaces and of no other, and a queue in the first of them.

    All of it is removed at the end, first what only a running Kueue lets go.
    """
    kubectl = stack.target.kubectl
    for name in (NAMESPACE, QUEUELESS):
        stack.namespace(name)
    _install(stack, chart=kueue.ensure())
    try:
        # It serves its webhooks a while after it says to be ready, once it has made a certificate.
        wait_until(lambda: _is_applied(kubectl, *_cluster_queue(), *_local_queues()), seconds=600, what="Kueue serves")
        yield
    finally:
        kubectl.run("delete", "namespace", NAMESPACE, QUEUELESS, "--timeout=10m")
        for manifest in _cluster_queue():
            kubectl.run("delete", manifest["kind"].lower(), manifest["metadata"]["name"], "--timeout=10m")
        run_helm(stack.target, "uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
        kubectl.run("delete", "namespace", SYSTEM)


def _install(stack: Stack, *, chart: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(_values(), file)
        file.flush()
        where = ["--namespace", SYSTEM, "--create-namespace", "--values", file.name]
        run_helm(stack.target, "upgrade", "--install", RELEASE, str(chart), *where)
    stack.target.kubectl.run("rollout", "status", "deployment", "-n", SYSTEM, "--timeout=10m")


def _is_applied(kubectl: Kubectl, *manifests: Manifest) -> bool:
    try:
        kubectl.apply(*manifests)
    except KubectlError:
        return False
    return True


def _values() -> dict[str, Any]:
    ours = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [NAMESPACE, QUEUELESS]}
    configuration = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": ":8081"},
        "metrics": {"bindAddress": ":8443"},
        "webhook": {"port": 9443},
        "leaderElection": {"leaderElect": False},
        "integrations": {"frameworks": ["batch/job"]},
        "manageJobsWithoutQueueName": True,
        "managedJobsNamespaceSelector": {"matchExpressions": [ours]},
    }
    manager = {
        "image": {"repository": kueue.REPOSITORY, "tag": kueue.VERSION, "pullPolicy": "IfNotPresent"},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }
    return {
        "fullnameOverride": "kueue",
        "controllerManager": {"manager": manager, "featureGates": [{"name": "VisibilityOnDemand", "enabled": False}]},
        "managerConfig": {"controllerManagerConfigYaml": json.dumps(configuration)},
    }


def _cluster_queue() -> list[Manifest]:
    """Return what makes a queue of some accelerators."""
    quotas = {"cpu": "100", "memory": "1000Gi", "nvidia.com/gpu": str(NUM_ACCELERATORS)}
    flavor = {"name": "any", "resources": [{"name": name, "nominalQuota": quotas[name]} for name in RESOURCES]}
    everything = {
        "namespaceSelector": {},
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "resourceGroups": [{"coveredResources": list(RESOURCES), "flavors": [flavor]}],
    }
    return [
        {"apiVersion": API, "kind": "ClusterQueue", "metadata": {"name": QUEUE}, "spec": everything},
        {"apiVersion": API, "kind": "ResourceFlavor", "metadata": {"name": "any"}, "spec": {}},
        {"apiVersion": API, "kind": "WorkloadPriorityClass", "metadata": {"name": URGENT}, "value": 1000},
    ]


def _local_queues() -> list[Manifest]:
    """Return its names in the tests' namespace."""
    return [
        {
            "apiVersion": API,
            "kind": "LocalQueue",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"clusterQueue": QUEUE},
        }
        for name in (QUEUE, DEFAULT_QUEUE)
    ]


def workload_of(kubectl: Kubectl, job: str) -> str:
    """Return the name of the Workload by which Kueue knows a Job."""
    found = kubectl.find(WORKLOAD, namespace=NAMESPACE)
    (name,) = [one["metadata"]["name"] for one in found if one["metadata"]["ownerReferences"][0]["name"] == job]
    return str(name)


def urgent_job(name: str) -> Manifest:
    """Return a Job of somebody else that needs all accelerators of the queue and goes before others, for ever."""
    image = system_images.references(binaries.folder()).busybox
    container = build_idle_container(image, accelerators=NUM_ACCELERATORS)
    labels = {"kueue.x-k8s.io/queue-name": QUEUE, "kueue.x-k8s.io/priority-class": URGENT}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }
