"""The policies in examples/policies, on the API server: what they refuse, in which words, and what they leave alone."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.api.conftest import MINIMAL
from tests.cluster.api import wait_until
from tests.contract.test_examples import ROOT
from tests.stack.kubectl import Kubectl, KubectlError

pytestmark = pytest.mark.api_server

NAMESPACE = "finetune-policies"
#: The only namespaces that the examples are bound to.
LABELS = {"finetune.example/policies": "true"}
PLACES = {
    "finetune.example/owners": "acme,acme-research",
    "finetune.example/buckets": "s3://acme-models/search",
    "finetune.example/registries": "oci://registry.example/search",
}
POLICIES = sorted((ROOT / "examples" / "policies").glob("*.yaml"))
PUBLISH = {"repository": "acme/better", "tokenSecret": {"name": "hub-token"}}
IN_A_BUCKET = {"bucket": "s3://acme-models/search/pages", "secretName": "keys"}
DIGEST = f"registry.example/trainer@sha256:{'0' * 64}"
#: Nothing of it is refused.
GOOD: dict[str, Any] = MINIMAL["spec"] | {
    "activeDeadlineSeconds": 3600,
    "image": DIGEST,
    "publish": PUBLISH,
    "schedule": {"queueName": "gpus"},
}


@pytest.fixture(scope="module")
def policed(kubectl: Kubectl) -> Iterator[Kubectl]:
    """An API server on which the policies are at work, in one namespace."""
    metadata = {"name": NAMESPACE, "labels": LABELS, "annotations": PLACES}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    kubectl.run("apply", "-f", str(POLICIES[0].parent))
    for name in ("images", "limits", "publishing", "queue"):
        wait_until(lambda name=name: is_at_work(kubectl, name), seconds=300, what=f"{name} is at work")  # type: ignore[misc]
    yield kubectl
    kubectl.run("delete", "-f", str(POLICIES[0].parent))
    kubectl.run("delete", "namespace", NAMESPACE)


def is_at_work(kubectl: Kubectl, policy: str) -> bool:
    bad: dict[str, dict[str, Any]] = {
        "images": {"image": "elsewhere.example/trainer"},
        "limits": {"activeDeadlineSeconds": None},
        "queue": {"schedule": None},
        "publishing": {"publish": PUBLISH | {"repository": "somebody/better"}},
    }
    return f"'finetunejobs-{policy}'" in refusal(kubectl, **bad[policy])


def refusal(kubectl: Kubectl, **spec: Any) -> str:  # noqa: ANN401 - fields of a spec
    """Return what the API server says to a good job with other fields; empty if it takes it."""
    found = {key: value for key, value in (GOOD | spec).items() if value is not None}
    job = MINIMAL | {"metadata": {"name": "job", "namespace": NAMESPACE}, "spec": found}
    try:
        kubectl.run("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(job))
    except KubectlError as error:
        return str(error)
    return ""


def put_back(policed: Kubectl) -> None:
    """Annotate the namespace as before; the API server takes a moment to know it, and the next test is another's."""
    places = (f"{name}={value}" for name, value in PLACES.items())
    policed.run("annotate", "--overwrite", "namespace", NAMESPACE, *places)
    wait_until(lambda: refusal(policed) == "", seconds=300, what="it is taken again")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"publish": PUBLISH | {"repository": "somebody/better"}},
            'spec.publish.repository: "somebody/better": this namespace publishes under acme, acme-research',
        ),
        (
            {"publish": IN_A_BUCKET | {"bucket": "s3://acme-models/searching"}},
            'spec.publish.bucket: "s3://acme-models/searching": this namespace publishes into s3://acme-models/search',
        ),
        (
            {"publish": {"registry": "oci://registry.example/searching/a:v1"}},
            'spec.publish.registry: "oci://registry.example/searching/a:v1": this namespace publishes below '
            "oci://registry.example/search",
        ),
        (
            {"image": "elsewhere.example/a@sha256:0"},
            'spec.image: "elsewhere.example/a@sha256:0" is not of registry.example',
        ),
        ({"image": "registry.example/a:1"}, 'spec.image: "registry.example/a:1" has no digest; write NAME@sha256:...'),
        (
            {"schedule": None},
            "spec.schedule.queueName: is missing; jobs with accelerators name a queue of this namespace",
        ),
        (
            {"resources": {"nodes": 9, "accelerator": {"perNode": 8}}, "storage": {"accessMode": "ReadWriteMany"}},
            "spec.resources: at most 64 accelerators for one job",
        ),
        (
            {"activeDeadlineSeconds": None},
            "spec.activeDeadlineSeconds: is missing; say when training ends at the latest",
        ),
        ({"podTemplate": {"publish": {"hostNetwork": True}}}, "spec.podTemplate: hostNetwork is not to be had"),
    ],
)
def test_a_policy_refuses_in_words_that_begin_with_the_field(
    policed: Kubectl, spec: dict[str, Any], words: str
) -> None:
    assert refusal(policed, **spec).endswith(f"denied request: {words}")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"publish": None},
        {"publish": PUBLISH | {"repository": "acme-research/better"}},
        {"publish": IN_A_BUCKET},
        {"publish": {"registry": "oci://registry.example/search/pages:v1"}},
        {"image": None},
        {"schedule": None, "resources": {"accelerator": {"perNode": 0}}},
    ],
)
def test_what_they_do_not_mean_is_taken(policed: Kubectl, spec: dict[str, Any]) -> None:
    assert refusal(policed, **spec) == ""


def test_a_namespace_without_the_annotations_publishes_nothing(policed: Kubectl) -> None:
    policed.run("annotate", "namespace", NAMESPACE, *(f"{name}-" for name in PLACES))
    wait_until(lambda: "publishes under no owner" in refusal(policed), seconds=300, what="it is known")

    said = refusal(policed, publish=IN_A_BUCKET), refusal(policed, publish=None)

    put_back(policed)
    assert said[0].endswith("this namespace publishes into no bucket")
    assert said[1] == ""


def test_a_job_that_is_refused_by_now_can_still_go(policed: Kubectl) -> None:
    metadata = {"name": "held", "namespace": NAMESPACE, "finalizers": ["finetune.example/held"]}
    policed.apply(MINIMAL | {"metadata": metadata, "spec": GOOD})
    policed.run("annotate", "--overwrite", "namespace", NAMESPACE, "finetune.example/owners=others")
    wait_until(lambda: "publishes under others" in refusal(policed), seconds=300, what="it is refused")

    policed.run("delete", "finetunejobs.finetune.dev", "held", "-n", NAMESPACE, "--wait=false")
    without = json.dumps({"metadata": {"finalizers": None}})
    policed.run("patch", "finetunejobs.finetune.dev", "held", "-n", NAMESPACE, "--type=merge", "-p", without)

    put_back(policed)
    assert policed.get("finetunejobs.finetune.dev", "held", namespace=NAMESPACE) is None


def test_the_api_server_finds_no_field_in_them_that_is_not_there(policed: Kubectl) -> None:
    path = "jsonpath={.status}"

    def statuses() -> list[dict[str, Any]]:
        return [
            json.loads(policed.run("get", "validatingadmissionpolicy", f"finetunejobs-{one.stem}", "-o", path) or "{}")
            for one in POLICIES
        ]

    wait_until(lambda: all("observedGeneration" in one for one in statuses()), seconds=300, what="all are checked")

    assert [one.get("typeChecking", {}).get("expressionWarnings") for one in statuses()] == [None] * len(POLICIES)
