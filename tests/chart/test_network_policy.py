from typing import Any

import pytest

from finetune_api.contract import Role
from finetune_api.keys import LABEL_ROLE, TELEMETRY_PORT
from tests.chart.helm import NAMESPACE, Helm, Manifest, of_kind, only

PREPARE = {"podSelector": {"matchLabels": {LABEL_ROLE: Role.PREPARE.value}}}
PUBLISH = {"podSelector": {"matchLabels": {LABEL_ROLE: Role.PUBLISH.value}}}
TRACK = {"podSelector": {"matchLabels": {LABEL_ROLE: Role.TRACK.value}}}
TRAINING = {"podSelector": {"matchLabels": {LABEL_ROLE: Role.TRAIN.value}}}


def policies(manifests: list[Manifest], pods: dict[str, Any] = TRAINING) -> list[Manifest]:
    """Return those for such pods."""
    found = of_kind(manifests, "NetworkPolicy")
    return [policy for policy in found if policy["spec"]["podSelector"] == pods["podSelector"]]


def operator(manifests: list[Manifest]) -> dict[str, Any]:
    """Return the operator as the peer of a policy."""
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        "podSelector": only(manifests, "Deployment")["spec"]["selector"],
    }


def test_there_is_none_by_default(defaults: list[Manifest]) -> None:
    assert of_kind(defaults, "NetworkPolicy") == []


def test_training_pods_reach_each_other_and_dns_and_only_operator_and_track_pods_reach_them(
    everything: list[Manifest],
) -> None:
    (policy,) = policies(everything)

    assert policy["spec"] == {
        **TRAINING,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [TRAINING]},
            {"from": [TRACK, operator(everything)], "ports": [{"protocol": "TCP", "port": TELEMETRY_PORT}]},
        ],
        "egress": [
            {"to": [TRAINING]},
            {"ports": [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")]},
        ],
    }


def test_prepare_pods_reach_the_hub_and_only_the_operator_reaches_them(everything: list[Manifest]) -> None:
    (policy,) = policies(everything, PREPARE)

    assert policy["spec"] == {
        **PREPARE,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [operator(everything)], "ports": [{"protocol": "TCP", "port": TELEMETRY_PORT}]}],
    }


@pytest.mark.parametrize("pods", [PUBLISH, TRACK])
def test_publish_and_track_pods_reach_hub_and_tracker_and_nobody_reaches_them(
    everything: list[Manifest], pods: dict[str, Any]
) -> None:
    (policy,) = policies(everything, pods)

    assert policy["spec"] == {**pods, "policyTypes": ["Ingress"]}


def test_nobody_reaches_the_operator_but_helm_s_test_and_who_reads_metrics(helm: Helm) -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

    manifests = helm.render({"networkPolicy": {"enabled": True, "metricsFrom": [prometheus]}})

    selector = only(manifests, "Deployment")["spec"]["selector"]
    (policy,) = policies(manifests, {"podSelector": selector})
    test = only(manifests, "Pod")["metadata"]["labels"]
    (rule,) = policy["spec"]["ingress"]
    asked, *others = rule["from"]
    assert asked["podSelector"]["matchLabels"].items() <= test.items()
    assert others == [prometheus]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["metadata"]["namespace"] == NAMESPACE


@pytest.mark.parametrize("pods", [PREPARE, TRAINING, PUBLISH], ids=["prepare", "training", "publish"])
def test_every_listed_namespace_gets_one(pods: dict[str, Any], helm: Helm) -> None:
    manifests = helm.render({"networkPolicy": {"enabled": True, "namespaces": ["search", "shop"]}})

    namespaces = [policy["metadata"]["namespace"] for policy in policies(manifests, pods)]
    assert namespaces == ["search", "shop"]


def test_watched_namespaces_get_it_without_being_listed(helm: Helm) -> None:
    manifests = helm.render({"networkPolicy": {"enabled": True}, "watchNamespaces": ["search", "shop"]})

    namespaces = {policy["metadata"]["namespace"] for policy in of_kind(manifests, "NetworkPolicy")}
    assert namespaces == {NAMESPACE, "search", "shop"}  # the operator's own


def test_prometheus_may_be_let_in_to_the_metrics_port_alone(helm: Helm) -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

    manifests = helm.render({"networkPolicy": {"enabled": True, "metricsFrom": [prometheus]}})

    telemetry = policies(manifests)[0]["spec"]["ingress"][1]
    assert prometheus in telemetry["from"]
    assert telemetry["ports"] == [{"protocol": "TCP", "port": TELEMETRY_PORT}]
