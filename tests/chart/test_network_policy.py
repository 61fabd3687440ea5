from finetune_api.contract import Role
from finetune_api.keys import LABEL_ROLE, TELEMETRY_PORT
from tests.chart.helm import NAMESPACE, Helm, Manifest, of_kind, only

TRAINING = {"podSelector": {"matchLabels": {LABEL_ROLE: Role.TRAIN.value}}}


def test_there_is_none_by_default(defaults: list[Manifest]) -> None:
    assert of_kind(defaults, "NetworkPolicy") == []


def test_training_pods_reach_each_other_and_dns_and_only_the_operator_reaches_them(everything: list[Manifest]) -> None:
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        "podSelector": only(everything, "Deployment")["spec"]["selector"],
    }

    policy = only(everything, "NetworkPolicy")["spec"]

    assert policy == {
        **TRAINING,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [TRAINING]},
            {"from": [operator], "ports": [{"protocol": "TCP", "port": TELEMETRY_PORT}]},
        ],
        "egress": [
            {"to": [TRAINING]},
            {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
        ],
    }


def test_every_listed_namespace_gets_one(helm: Helm) -> None:
    manifests = helm.render({"networkPolicy": {"enabled": True, "namespaces": ["search", "shop"]}})

    namespaces = [policy["metadata"]["namespace"] for policy in of_kind(manifests, "NetworkPolicy")]
    assert namespaces == ["search", "shop"]


def test_a_watched_namespace_gets_it_without_being_listed(helm: Helm) -> None:
    manifests = helm.render({"networkPolicy": {"enabled": True}, "watchNamespace": "search"})

    assert only(manifests, "NetworkPolicy")["metadata"]["namespace"] == "search"


def test_prometheus_may_be_let_in_to_the_metrics_port_alone(helm: Helm) -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

    manifests = helm.render({"networkPolicy": {"enabled": True, "metricsFrom": [prometheus]}})

    telemetry = only(manifests, "NetworkPolicy")["spec"]["ingress"][1]
    assert prometheus in telemetry["from"]
    assert telemetry["ports"] == [{"protocol": "TCP", "port": TELEMETRY_PORT}]
