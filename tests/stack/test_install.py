import json
from pathlib import Path

import pytest
import yaml

from tests.stack.install import CRD, HUB_NAMESPACE, LABEL_OURS, SYSTEM_NAMESPACE, install, uninstall
from tests.stack.stand_ins import StandIns

OURS = json.dumps({"metadata": {"name": SYSTEM_NAMESPACE, "labels": {LABEL_OURS: "true"}}})
FOREIGN = json.dumps({"metadata": {"name": SYSTEM_NAMESPACE}})
#: What Helm 3 does not know.
HELM_4_FLAGS = {"--force-conflicts", "--server-side"}


def applied_namespaces(cluster: StandIns) -> dict[str, dict[str, str]]:
    """Return the labels of each namespace that was applied, by its name."""
    manifests = [each for each in yaml.safe_load_all(cluster.applied) if each["kind"] == "Namespace"]
    return {each["metadata"]["name"]: each["metadata"]["labels"] for each in manifests}


def test_a_given_cluster_without_an_operator_is_taken_with_flags_that_helm_3_and_4_know(tmp_path: Path) -> None:
    cluster = StandIns(tmp_path, has={})

    install(cluster.given)

    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    assert applied_namespaces(cluster) == {
        SYSTEM_NAMESPACE: {**restricted, LABEL_OURS: "true"},
        HUB_NAMESPACE: restricted,
    }
    (helm,) = [call.split() for call in cluster.calls if call.startswith("helm ")]
    assert helm[1:4] == ["upgrade", "--install", "finetune-operator"]
    assert HELM_4_FLAGS & set(helm) == set()


def test_a_given_cluster_that_was_taken_before_is_used_again(tmp_path: Path) -> None:
    cluster = StandIns(tmp_path, has={"namespace": OURS, "crd": json.dumps({"metadata": {"name": CRD}})})

    install(cluster.given)

    assert cluster.calls[-1] == ("kubectl rollout status deployment/finetune-operator -n finetune-system --timeout=10m")


@pytest.mark.parametrize(
    ("has", "named"),
    [
        ({"crd": json.dumps({"metadata": {"name": CRD}})}, f"the crd {CRD}"),
        ({"namespace": FOREIGN}, f"the namespace {SYSTEM_NAMESPACE}"),
    ],
)
def test_a_given_cluster_with_an_operator_of_its_own_is_refused_before_anything_is_changed(
    tmp_path: Path, has: dict[str, str], named: str
) -> None:
    cluster = StandIns(tmp_path, has=has)

    with pytest.raises(SystemExit, match=f"The cluster has {named} already, which is not of the demo"):
        install(cluster.given)

    assert [call for call in cluster.calls if not call.startswith("kubectl get ")] == []


def test_what_was_installed_is_removed_operator_last_so_that_jobs_end_while_it_runs(tmp_path: Path) -> None:
    cluster = StandIns(tmp_path, has={"namespace": OURS})

    uninstall(cluster.given, "finetune-demo")

    assert cluster.calls[1:] == [
        "kubectl delete namespace finetune-demo finetune-hub --ignore-not-found",
        "helm uninstall finetune-operator --namespace finetune-system --ignore-not-found --wait",
        "kubectl delete crd finetunejobs.finetune.dev --ignore-not-found",
        "kubectl delete namespace finetune-system --ignore-not-found",
    ]


@pytest.mark.parametrize("has", [{}, {"namespace": FOREIGN}])
def test_nothing_is_removed_from_a_cluster_that_was_not_taken(tmp_path: Path, has: dict[str, str]) -> None:
    cluster = StandIns(tmp_path, has=has)

    with pytest.raises(SystemExit, match="Nothing is removed: the namespace finetune-system is not of the demo"):
        uninstall(cluster.given, "finetune-demo")

    assert len(cluster.calls) == 1
