"""What kube-score asks of pods beyond their schemas: the chart and the children do it, or say here why not."""

import copy
from pathlib import Path

import pytest
import yaml

from tests.chart import kube_score
from tests.chart.helm import Manifest
from tests.chart.test_schemas import CHILDREN, OLDEST

#: Of all pods.
EVERYWHERE = {
    "container-resources": "a limit of CPU slows down what could run; memory's is set for the operator, and the job's",
    "container-ephemeral-storage-request-and-limit": "little is written beside the volume; podTemplate may ask for it",
    "container-image-pull-policy": "images are named by digest, or by a release's tag, which is never moved",
    "container-security-context-user-group-id": "the image's own user, so that platforms may choose another",
}
OPERATOR = EVERYWHERE | {
    "pod-networkpolicy": "out to the API server and to rank 0 in any namespace, whose addresses a chart cannot know",
    "deployment-strategy": "Recreate: two versions never work at the same time",
    "deployment-replicas": "trainings go on without it; `replicas` is a value",
}
TEST = EVERYWHERE | {"pod-networkpolicy": "`helm test` asks the operator, and is gone at once"}
POLICY = {"networkpolicy-targets-pod": "pods of jobs, which no chart has"}
CHILD = EVERYWHERE | {"pod-networkpolicy": "those of a whole namespace, which the chart makes by networkPolicy.enabled"}
CHART = {
    (kind, rule)
    for kind, rules in {"Deployment": OPERATOR, "Pod": TEST, "NetworkPolicy": POLICY}.items()
    for rule in rules
}


@pytest.fixture(scope="module")
def program() -> Path:
    found = kube_score.find()
    if found is None:
        pytest.skip(kube_score.MISSING)
    return found


def test_the_chart_follows_every_rule_of_kube_score_but_those_that_are_explained(
    program: Path, everything: list[Manifest]
) -> None:
    assert kube_score.findings(program, everything, kubernetes=OLDEST) == CHART


def test_children_follow_every_rule_of_kube_score_but_those_that_are_explained(program: Path) -> None:
    children = [one for path in CHILDREN for one in yaml.safe_load_all(path.read_text()) if one]

    found = kube_score.findings(program, children, kubernetes=OLDEST)

    assert {rule for _, rule in found} == set(CHILD)


def test_a_container_that_may_write_into_its_image_is_found(program: Path, defaults: list[Manifest]) -> None:
    (deployment,) = [one for one in defaults if one["kind"] == "Deployment"]
    deployment = copy.deepcopy(deployment)
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False

    found = kube_score.findings(program, [deployment], kubernetes=OLDEST)

    assert ("Deployment", "container-security-context-readonlyrootfilesystem") in found
