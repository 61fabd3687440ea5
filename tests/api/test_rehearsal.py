"""What a job adds to its pods, shown to the real API server as the operator shows it before prepare."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from finetune_api.types import FinetuneJob
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.decision import Situation
from finetune_operator.core.observed import Observed
from finetune_operator.core.rehearsing import rehearsal
from tests.api.conftest import MINIMAL
from tests.api.pod_templates import EVERYTHING
from tests.operator.given import PLATFORM, T0
from tests.stack.jobs import change
from tests.stack.kubectl import Kubectl, KubectlError, Manifest

pytestmark = pytest.mark.api_server
NAMESPACE = "finetune-rehearsal"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
#: Needs objects of the cluster that are not there, or leaves the profile.
NOT_HERE = {"runtimeClassName", "hostNetwork"}
FITTING = {name: value for name, value in EVERYTHING.items() if name not in NOT_HERE}
FITTING |= {"priorityClassName": "system-cluster-critical"}


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    metadata = {"name": NAMESPACE, "labels": RESTRICTED}
    account = {"metadata": {"name": "trainer", "namespace": NAMESPACE}}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        {"apiVersion": "v1", "kind": "ServiceAccount", **account},
    )
    yield NAMESPACE
    kubectl.delete("namespace", NAMESPACE, namespace=NAMESPACE)  # gone when the next run makes it anew


def rehearsed(template: dict[str, Any], namespace: str) -> tuple[Manifest, ...]:
    publish = {"repository": "acme/model", "tokenSecret": {"name": "hub-token"}}
    manifest = change(MINIMAL, podTemplate={"all": template}, publish=publish)
    manifest["metadata"] = manifest["metadata"] | {"namespace": namespace}
    job = FinetuneJob.model_validate(manifest)
    return rehearsal(Situation(job=job, observed=Observed(), now=T0, platform=PLATFORM))


def show(kubectl: Kubectl, manifest: Manifest) -> str:
    where = ["--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"]
    return kubectl.run("create", *where, stdin=yaml.safe_dump(manifest)).strip()


def test_everything_that_may_be_added_makes_jobs_and_pods_that_the_api_server_takes(
    kubectl: Kubectl, namespace: str
) -> None:
    manifests = rehearsed(FITTING, namespace)

    shown = [show(kubectl, manifest) for manifest in manifests]

    assert shown == [
        f"{'job.batch' if manifest['kind'] == 'Job' else 'pod'}/{manifest['metadata']['name']}"
        for manifest in manifests
    ]
    assert len(shown) == 6


def test_a_manifest_that_fits_no_config_map_is_refused_in_words(kubectl: Kubectl, namespace: str) -> None:
    manifest = change(MINIMAL, training={"arguments": {"run_name": "x" * 1_100_000}})
    manifest["metadata"] = manifest["metadata"] | {"namespace": namespace}

    with pytest.raises(KubectlError, match="Too long: may not be more than 1048576 bytes"):
        show(kubectl, build_config_map(FinetuneJob.model_validate(manifest), platform=PLATFORM))


@pytest.mark.parametrize(
    ("addition", "kind", "words"),
    [
        ({"hostNetwork": True}, "Pod", 'violates PodSecurity "restricted:latest"'),
        ({"serviceAccountName": "nobody"}, "Pod", 'serviceaccount "nobody" not found'),
        ({"runtimeClassName": "nothing"}, "Pod", 'RuntimeClass "nothing" not found'),
        ({"priorityClassName": "nothing"}, "Pod", "no PriorityClass with name nothing was found"),
        ({"resources": {"requests": {"rdma/ib": 1}}}, "Job", "Limit must be set for non overcommitable resources"),
        ({"tolerations": [{"key": "a", "operator": "Sometimes"}]}, "Job", "tolerations[0].operator"),
        ({"tolerations": [{"keys": "a"}]}, "Job", 'unknown field "spec.template.spec.tolerations[0].keys"'),
        (
            {"volumeMounts": [{"name": "nothing", "mountPath": "/x"}]},
            "Job",
            'volumeMounts[0].name: Not found: "nothing"',
        ),
    ],
)
def test_what_may_not_be_made_is_refused_before_anything_is(
    kubectl: Kubectl, namespace: str, addition: dict[str, Any], kind: str, words: str
) -> None:
    manifests = rehearsed({"serviceAccountName": "trainer", **addition}, namespace)
    refusals = []
    for manifest in manifests:
        try:
            show(kubectl, manifest)
        except KubectlError as error:
            refusals.append((manifest["kind"], str(error)))

    assert [one for one, _ in refusals][:1] == [kind]
    assert words in refusals[0][1]
