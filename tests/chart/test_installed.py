"""The chart on a real API server: installed, upgraded and uninstalled under a CRD name that nobody else uses."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chart.helm import CHART, Helm
from tests.chart.test_rbac import OPERATOR, Grant
from tests.stack.kubectl import Kubectl

pytestmark = pytest.mark.api_server

RELEASE = "charttest"
NAMESPACE = "finetune-chart-test"
GROUP = "charttest.dev"
CRD = f"finetunejobs.{GROUP}"
VALUES = {"networkPolicy": {"enabled": True}}
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-finetune-operator"


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the chart whose CRD is in another group, so that no other release's objects are touched."""
    copy = tmp_path_factory.mktemp("chart") / CHART.name
    shutil.copytree(CHART, copy, symlinks=False)
    for path in (copy / "files" / "finetunejobs.yaml", *(copy / "templates").glob("*.yaml")):
        path.write_text(path.read_text().replace("finetune.dev", GROUP))
    return copy


@pytest.fixture(scope="module")
def cluster_helm(helm: Helm, kubectl: Kubectl) -> Helm:
    return replace(helm, environment={**helm.environment, "KUBECONFIG": kubectl.kubeconfig})


@pytest.fixture(scope="module")
def installed(cluster_helm: Helm, kubectl: Kubectl, chart: Path) -> Iterator[str]:
    """What Helm says about a fresh installation, into a namespace that enforces the restricted profile."""
    clean(cluster_helm, kubectl)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    yield cluster_helm.run("install", RELEASE, chart, "--namespace", NAMESPACE, values=VALUES)
    clean(cluster_helm, kubectl)


def clean(helm: Helm, kubectl: Kubectl) -> None:
    helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    kubectl.run("delete", "crd", CRD, "--ignore-not-found")
    kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found")


def may(kubectl: Kubectl, verb: str, resource: str) -> bool:
    """Whether the operator's account may; `resource` is GROUP/RESOURCE or GROUP/RESOURCE/SUBRESOURCE."""
    group, name, *rest = resource.split("/")
    attributes = {"verb": verb, "group": group, "resource": name, "subresource": "".join(rest), "namespace": "default"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": attributes},
    }
    answer = json.loads(kubectl.run("create", "-f", "-", "-o", "json", stdin=json.dumps(review)))
    return bool(answer["status"]["allowed"])


def test_the_api_server_accepts_every_object(installed: str) -> None:
    assert "STATUS: deployed" in installed


def test_the_restricted_profile_lets_the_pod_in(installed: str, kubectl: Kubectl) -> None:
    kubectl.run("wait", "deployment", "--all", "-n", NAMESPACE, "--for=condition=Progressing", "--timeout=300s")

    refused = kubectl.run(
        *("get", "deployment", "-n", NAMESPACE),
        *("-o", 'jsonpath={.items[*].status.conditions[?(@.type=="ReplicaFailure")].message}'),
    )

    assert refused == ""


@pytest.mark.parametrize(
    ("verb", "resource", "expected"),
    [
        ("list", f"{GROUP}/finetunejobs", True),
        ("patch", f"{GROUP}/finetunejobs/status", True),
        ("create", "batch/jobs", True),
        ("list", "/events", True),
        ("create", "events.k8s.io/events", True),
        ("update", f"{GROUP}/finetunejobs", False),
        ("get", "/secrets", False),
        ("list", "/secrets", False),
        ("create", "/pods", True),  # a dry run alone: what a job adds to its pods is checked there
        ("create", "/pods/exec", False),
        ("list", "/nodes", False),
    ],
)
def test_the_service_account_may_do_its_work_and_no_more(
    installed: str, kubectl: Kubectl, verb: str, resource: str, expected: bool
) -> None:
    assert may(kubectl, verb, resource) is expected


def rights_of(kubectl: Kubectl, account: str) -> set[Grant]:
    """Return what the API server says that an account may do to objects, as (group/resource, verbs)."""
    printed = kubectl.run("auth", "can-i", "--list", "--no-headers", "-n", "default", f"--as={account}")
    found = re.findall(r"^([\w-]+)\.?([\w.-]*)(/\w+)? +\[\] +\[\] +\[(.+)\]$", printed, flags=re.MULTILINE)
    return {(f"{group}/{name}{part}", " ".join(sorted(verbs.split()))) for name, group, part, verbs in found}


def test_the_service_account_may_do_what_the_chart_says_and_what_everybody_may(
    installed: str, kubectl: Kubectl
) -> None:
    granted = {(resource.replace("finetune.dev/", f"{GROUP}/"), verbs) for resource, verbs in OPERATOR}

    assert rights_of(kubectl, ACCOUNT) - rights_of(kubectl, f"{ACCOUNT}-not") == granted


def test_an_upgrade_changes_the_crd_and_uninstalling_keeps_it(
    installed: str, cluster_helm: Helm, kubectl: Kubectl, chart: Path
) -> None:
    source = chart / "files" / "finetunejobs.yaml"
    before = source.read_text()
    source.write_text(before.replace("    - ftj\n", "    - ftj\n    - ftjx\n"))
    kubectl.run("wait", f"crd/{CRD}", "--for=condition=Established", "--timeout=300s")
    job = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "FinetuneJob",
        "metadata": {"name": "kept", "namespace": NAMESPACE},
        "spec": {"model": {"source": "hf://a/b"}, "data": {"train": [{"name": "t", "source": "hf://a/t"}]}},
    }
    kubectl.apply(job)

    cluster_helm.run("upgrade", RELEASE, chart, "--namespace", NAMESPACE, values=VALUES)
    names_after_upgrade = kubectl.run("get", "crd", CRD, "-o", "jsonpath={.spec.names.shortNames}")
    cluster_helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    left = kubectl.run("get", f"finetunejobs.{GROUP}", "-n", NAMESPACE, "-o", "name")

    source.write_text(before)
    assert names_after_upgrade == '["ftj","ftjx"]'
    assert left.strip() == f"finetunejob.{GROUP}/kept"
