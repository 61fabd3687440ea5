import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from finetune_api.pod_template import PodTemplate, PodTemplates
from tests.api.pod_templates import EVERYTHING
from tests.chart.helm import CHART, Helm, HelmError, Values, of_kind


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"replica": 2}, "replica"),
        ({"replicas": 0}, "/replicas"),
        ({"trainerImages": {}}, "trainerImages"),
        ({"image": {"name": "x"}}, "/image"),
        ({"image": {"tag": 1.2}}, "/image/tag"),
        ({"image": {"repository": "https://registry.example/operator"}}, "/image/repository"),
        ({"image": {"repository": "registry.example/operator:latest"}}, "/image/repository"),
        ({"image": {"digest": "0" * 64}}, "/image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"trainerImage": {"pullPolicy": "always"}}, "/trainerImage/pullPolicy"),
        ({"trainerImage": {"pullSecrets": [{"name": "registry"}]}}, "/trainerImage/pullSecrets/0"),
        ({"trainerImage": {"pullSecrets": ["a,b"]}}, "/trainerImage/pullSecrets/0"),
        ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
        ({"hub": {"endpoint": "hub.example"}}, "/hub/endpoint"),
        ({"hub": {"endpoint": "https://hub.example/"}}, "/hub/endpoint"),
        ({"hub": {"endpoint": "https://user:token@hub.example"}}, "/hub/endpoint"),
        ({"hub": {"token": "hf_x"}}, "/hub"),
        ({"hubJobs": {"memoryRequest": "1 GB"}}, "/hubJobs/memoryRequest"),
        ({"podSecurity": {"runAsUser": 0}}, "/podSecurity/runAsUser"),
        ({"podSecurity": {"privileged": True}}, "/podSecurity"),
        ({"podTemplate": {"training": {}}}, "/podTemplate"),
        ({"podTemplate": {"all": {"command": ["sh"]}}}, "/podTemplate/all"),
        ({"podTemplate": {"all": {"labels": {"team": 1}}}}, "/podTemplate/all/labels/team"),
        ({"podTemplate": {"train": {"env": [{"name": "A", "value": 1}]}}}, "/podTemplate/train/env/0/value"),
        ({"podTemplate": {"train": {"hostNetwork": False}}}, "/podTemplate/train/hostNetwork"),
        (
            {"podTemplate": {"train": {"resources": {"limits": {"cpu": "all"}}}}},
            "/podTemplate/train/resources/limits/cpu",
        ),
        ({"simulatedAccelerator": "false"}, "/simulatedAccelerator"),
        ({"watchNamespaces": ["Search"]}, "/watchNamespaces/0"),
        ({"watchNamespaces": "search"}, "/watchNamespaces"),
        ({"watchNamespaces": ["search", "search"]}, "/watchNamespaces"),
        ({"progress": {"pollSeconds": 0}}, "/progress/pollSeconds"),
        ({"progress": {"statusSeconds": "10s"}}, "/progress/statusSeconds"),
        ({"resyncSeconds": 1}, "/resyncSeconds"),
        ({"workers": 0}, "/workers"),
        ({"logFormat": "xml"}, "/logFormat"),
        ({"logLevel": "trace"}, "/logLevel"),
        ({"resources": {"limits": {"memory": "256MB"}}}, "/resources/limits/memory"),
        ({"resources": {"limit": {}}}, "/resources"),
        ({"extraEnv": [{"name": "A", "value": 1}]}, "/extraEnv/0/value"),
        ({"commonLabels": {"app.kubernetes.io/name": "mine"}}, "/commonLabels/app.kubernetes.io~1name"),
        ({"fullnameOverride": "Operator"}, "/fullnameOverride"),
        ({"nodeSelector": {"gpu": True}}, "/nodeSelector/gpu"),
        ({"tolerations": [{"key": "gpu", "effect": "NoRun"}]}, "/tolerations/0/effect"),
        ({"affinity": {"nodeAffinty": {}}}, "/affinity"),
        ({"serviceMonitor": {"interval": "30"}}, "/serviceMonitor/interval"),
        ({"prometheusRule": {"stalledAfterMinutes": 0}}, "/prometheusRule/stalledAfterMinutes"),
        ({"prometheusRule": {"runbookUrl": "runbook.md"}}, "/prometheusRule/runbookUrl"),
        ({"networkPolicy": {"namespaces": "search"}}, "/networkPolicy/namespaces"),
        ({"networkPolicy": {"metricsFrom": [{}]}}, "/networkPolicy/metricsFrom/0"),
        ({"dashboards": {"labels": {"grafana_dashboard": 1}}}, "/dashboards/labels/grafana_dashboard"),
        ({"crds": {"keep": False}}, "/crds"),
    ],
    ids=lambda argument: argument.replace("/", ".").strip(".") if isinstance(argument, str) else "",
)
def test_a_wrong_value_is_refused_with_its_path(helm: Helm, values: Values, path: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(values)

    assert f"'{path}'" in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"repository": "127.0.0.1:5000/team/finetune-operator", "tag": "v1.2.3-rc.1"}},
        {"image": {"repository": "finetune-operator", "digest": f"sha256:{'a' * 64}"}},
        {"hub": {"endpoint": "http://hub.finetune-hub.svc"}},
        {"hub": {"endpoint": "https://models.example:8443/hub"}},
        {"hubJobs": {"cpuRequest": 1, "memoryLimit": "4Gi"}},
        {"watchNamespaces": ["team-1", "team-2"]},
        {"podSecurity": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
        {"podTemplate": {"all": {"labels": None}, "train": EVERYTHING}},
        {"resources": {"limits": {"cpu": 0.5, "memory": None}}},
        {"networkPolicy": {"metricsFrom": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_right_value_is_accepted(helm: Helm, values: Values) -> None:
    assert len(of_kind(helm.render(values), "Deployment")) == 1


def test_schema_and_defaults_list_the_same_values() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    described = set(schema_paths(schema)) - {"global"}

    assert described == set(value_paths(values, among=described))


def test_no_object_of_the_schema_is_open_by_oversight() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    unclosed = [
        path for path, node in nodes(schema) if "properties" in node and node.get("additionalProperties") is not False
    ]

    assert unclosed == []


def schema_paths(node: dict[str, Any], *, prefix: str = "") -> Iterator[str]:
    """Paths of the settings that `node` describes: the leaves of its properties."""
    for name, child in node.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield from list(schema_paths(child, prefix=f"{path}.")) or [path]


def value_paths(values: dict[str, Any], *, among: set[str], prefix: str = "") -> Iterator[str]:
    """Paths of the settings in `values`; what is no path of the schema is followed down to its leaves."""
    for name, child in values.items():
        path = f"{prefix}{name}"
        is_inner = path not in among and isinstance(child, dict) and child
        yield from value_paths(child, among=among, prefix=f"{path}.") if is_inner else [path]


def nodes(node: object, *, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a JSON document with its path."""
    if isinstance(node, dict):
        yield path, node
        for name, child in node.items():
            yield from nodes(child, path=f"{path}/{name}")
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from nodes(child, path=f"{path}/{index}")


def test_the_values_have_every_field_of_a_pod_template() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["definitions"]

    assert schema["podTemplate"]["properties"].keys() == {one.alias for one in PodTemplate.model_fields.values()}
    assert schema["podTemplates"]["properties"].keys() == PodTemplates.model_fields.keys()
