"""Namespaces whose pods run as users of the namespace's range, as on OpenShift: restricted_v2.yaml beside this."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import yaml

from tests.cluster.api import wait_until
from tests.stack.kubectl import Kubectl, KubectlError, Manifest

POLICIES = Path(__file__).with_name("restricted_v2.yaml")
LABEL = "finetune.test/constraint"
USERS, GROUPS = "openshift.io/sa.scc.uid-range", "openshift.io/sa.scc.supplemental-groups"
NUM_IDS = 10_000


@contextmanager
def random_users(kube: Kubectl, first: Mapping[str, int]) -> Iterator[None]:
    """Let the rule hold in namespaces that are there, each with the first of its own user and group ids."""
    kube.run("apply", "-f", str(POLICIES))
    for name, user in first.items():
        kube.run("annotate", "namespace", name, f"{USERS}={user}/{NUM_IDS}", f"{GROUPS}={user}/{NUM_IDS}")
        kube.run("label", "namespace", name, f"{LABEL}=restricted-v2")
    for name, user in first.items():
        wait_until(partial(_is_at_work, kube, name, user), seconds=300, what=f"the rule holds in {name}")
    try:
        yield
    finally:
        for name in first:
            kube.run("label", "namespace", name, f"{LABEL}-")
            kube.run("annotate", "namespace", name, f"{USERS}-", f"{GROUPS}-")
        kube.run("delete", "-f", str(POLICIES))


def users_of(pods: list[Manifest]) -> set[tuple[int | None, ...]]:
    """Return user and group of volumes of each container of the pods, as the kubelet has to obey them."""
    found = set()
    for spec in (pod["spec"] for pod in pods):
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            security = {**spec["securityContext"], **container["securityContext"]}
            found.add(tuple(security.get(name) for name in ("runAsUser", "runAsGroup", "fsGroup")))
    return found


def _is_at_work(kube: Kubectl, namespace: str, first: int) -> bool:
    """Tell whether a pod that asks for no user would get one, and one that asks for a foreign one would be refused."""
    given = json.loads(_dry_run(kube, namespace))
    try:
        _dry_run(kube, namespace, runAsUser=65532)
    except KubectlError as refusal:
        return "security context constraint" in str(refusal) and users_of([given]) == {(first, None, first)}
    return False


def _dry_run(kube: Kubectl, namespace: str, **security: int) -> str:
    return kube.run(
        "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=yaml.safe_dump(_pod(namespace, security))
    )


def _pod(namespace: str, security: Manifest) -> Manifest:
    container = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **security},
            "containers": [{"name": "main", "image": "none.example/none:0", "securityContext": container}],
        },
    }
