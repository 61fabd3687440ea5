"""What the chart and the operator make has no field that the oldest and the newest Kubernetes do not know."""

import re
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import CHART, ROOT, Manifest

OLDEST = re.findall(r"\d+\.\d+", yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"])[0]
#: That of the test cluster.
NEWEST = re.findall(r"k8s\.io/kubernetes v(\d+\.\d+)", (ROOT / "tests" / "cluster" / "go" / "go.mod").read_text())[0]
#: What is not Kubernetes' own, or not in the older one yet and asked for there before it is used.
ELSEWHERE = ("monitoring.coreos.com/", "scheduling.k8s.io/")
CHILDREN = sorted((ROOT / "tests" / "operator" / "golden").glob("*.yaml"))


def problems(manifests: list[Manifest], version: str) -> list[str]:
    """Return what the schemas of this version say, unknown fields included."""
    import kubernetes_validate

    found = []
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{manifest['kind']} {manifest['metadata']['name']}: {error}")
    return found


def own(manifests: list[Manifest]) -> list[Manifest]:
    return [one for one in manifests if not one["apiVersion"].startswith(ELSEWHERE)]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_chart_has_no_field_that_kubernetes_does_not_know(everything: list[Manifest], version: str) -> None:
    assert problems(own(everything), version) == []


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("path", CHILDREN, ids=lambda path: path.stem)
def test_children_have_no_field_that_kubernetes_does_not_know(path: Path, version: str) -> None:
    children = [one for one in yaml.safe_load_all(path.read_text()) if one]

    assert problems(own(children), version) == []


def test_a_field_that_is_not_there_is_found(defaults: list[Manifest]) -> None:
    (service,) = [one for one in defaults if one["kind"] == "Service"]

    assert len(problems([service | {"spec": service["spec"] | {"selectors": {}}}], NEWEST)) == 1
