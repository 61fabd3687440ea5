"""The test cluster does what the tests above it take for granted."""

import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import binaries, cluster, system_images
from tests.cluster.node import GPU, NODES, NUM_GPUS

pytestmark = pytest.mark.cluster

NAMES = [node.name for node in NODES]
WAIT = "--timeout=300s"


@pytest.fixture(scope="module", autouse=True)
def running_cluster() -> None:
    if os.environ.get("KUBECONFIG"):
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")
    cluster.up()


@pytest.fixture
def namespace() -> Iterator[str]:
    """Yield a namespace that takes only pods meeting the restricted profile, and delete it with all in it."""
    name = f"smoke-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, WAIT)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def create(*manifests: dict[str, Any]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    cluster.kubectl("create", "-f", "-", text=json.dumps(listed))


def build_pod(namespace: str, name: str, *, node: str, script: str, claim: str = "") -> dict[str, Any]:
    container = {
        "name": "main",
        "image": system_images.references(binaries.folder()).busybox,
        "command": ["sh", "-c", script],
        "resources": {"limits": {GPU: 1, "memory": "64Mi", "cpu": "100m"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
    }
    volume = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "shared", **volume}],
    }
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def build_service(namespace: str, name: str) -> dict[str, Any]:
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def output_of(namespace: str, name: str) -> str:
    """Return what a pod that ran to its end printed."""
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "-n", namespace, WAIT)
    return cluster.kubectl("logs", name, "-n", namespace)


def test_both_nodes_are_ready_and_offer_gpus() -> None:
    cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", WAIT)
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]

    offered = {node["metadata"]["name"]: node["status"]["allocatable"][GPU] for node in nodes}

    assert offered == dict.fromkeys(NAMES, str(NUM_GPUS))


@pytest.mark.parametrize(("server_node", "client_node"), [NAMES, NAMES[::-1]])
def test_a_pod_reaches_a_service_of_the_other_node_by_its_name(
    namespace: str, server_node: str, client_node: str
) -> None:
    serve = f"echo here is {server_node} > /shared/index.html; exec httpd -f -p 8080 -h /shared"
    ask = "until wget -q -O - http://server 2>/dev/null; do sleep 1; done"

    create(
        build_service(namespace, "server"),
        build_pod(namespace, "server", node=server_node, script=serve),
        build_pod(namespace, "client", node=client_node, script=ask),
    )

    assert output_of(namespace, "client") == f"here is {server_node}\n"


def test_what_one_node_writes_to_a_shared_claim_the_other_reads(namespace: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shared", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    write = "id -u > /shared/writer"
    read = "until test -s /shared/writer; do sleep 1; done; cat /shared/writer"

    create(
        claim,
        build_pod(namespace, "reader", node="node-2", script=read, claim="shared"),
        build_pod(namespace, "writer", node="node-1", script=write, claim="shared"),
    )

    assert output_of(namespace, "reader") == "10001\n"


def test_a_pod_below_the_restricted_profile_is_refused(namespace: str) -> None:
    pod = build_pod(namespace, "root", node="node-1", script="id")
    pod["spec"]["securityContext"]["runAsUser"] = 0

    with pytest.raises(cluster.KubectlError, match='violates PodSecurity "restricted'):
        create(pod)


def test_a_stopped_node_is_noticed_and_runs_pods_again_once_started(namespace: str) -> None:
    cluster.stop_node("node-2")
    try:
        cluster.kubectl("wait", "--for=condition=Ready=Unknown", "node/node-2", WAIT)
    finally:
        cluster.start_node("node-2")
    create(build_pod(namespace, "back", node="node-2", script="echo back"))

    assert output_of(namespace, "back") == "back\n"
