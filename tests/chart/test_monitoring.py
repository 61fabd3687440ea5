import re

import pytest
from prometheus_client import CollectorRegistry

from finetune_api.contract import Role
from finetune_api.keys import LABEL_COMPLETION_INDEX, LABEL_ROLE
from tests.chart.dashboards import DASHBOARDS, JOB, JOBS
from tests.chart.helm import EVERYTHING, ROOT, Helm, Manifest, merged, only

METRIC = re.compile(r"\bfinetune\w+")
FULL_JOB: Manifest = {
    "metadata": {"namespace": "search", "name": "demo"},
    "status": {
        "phase": "Training",
        "attempt": 1,
        "completionTime": "2026-01-01T00:00:00Z",
        "restarts": {"infrastructure": 1},
        "progress": {"step": 1, "percent": 1},
        "checkpoint": {"step": 1, "time": "2026-01-01T00:00:00Z"},
        "usage": {"of": "Processes", "usefulSeconds": 1},
        "metrics": {"trainLoss": 1.0, "score": 0.5, "bestScore": 0.5, "baselineScore": 0.4},
    },
}


def alerts(manifests: list[Manifest]) -> list[Manifest]:
    groups = only(manifests, "PrometheusRule")["spec"]["groups"]
    return [alert for group in groups for alert in group["rules"]]


def test_nothing_of_it_is_there_by_default(defaults: list[Manifest]) -> None:
    assert not {"ServiceMonitor", "PodMonitor", "PrometheusRule"} & {manifest["kind"] for manifest in defaults}


def test_the_service_monitor_scrapes_the_service_and_keeps_the_jobs_namespace(everything: list[Manifest]) -> None:
    service = only(everything, "Service")

    monitor = only(everything, "ServiceMonitor")["spec"]

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "30s", "honorLabels": True}]
    assert [port["name"] for port in service["spec"]["ports"]] == ["http"]


def test_the_pod_monitor_scrapes_rank_0_of_every_training(everything: list[Manifest]) -> None:
    monitor = only(everything, "PodMonitor")["spec"]

    assert monitor["selector"] == {"matchLabels": {LABEL_ROLE: Role.TRAIN.value, LABEL_COMPLETION_INDEX: "0"}}
    assert monitor["namespaceSelector"] == {"any": True}
    assert monitor["podMetricsEndpoints"][0]["port"] == "telemetry"


def test_the_pod_monitor_looks_at_the_watched_namespaces_only(helm: Helm) -> None:
    manifests = helm.render({"podMonitor": {"enabled": True}, "watchNamespaces": ["search", "shop"]})

    assert only(manifests, "PodMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["search", "shop"]}


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor", "PrometheusRule"])
def test_prometheus_can_select_by_label(helm: Helm, kind: str) -> None:
    key = f"{kind[0].lower()}{kind[1:]}"

    manifests = helm.render({key: {"enabled": True, "labels": {"release": "prometheus"}}})

    assert only(manifests, kind)["metadata"]["labels"]["release"] == "prometheus"


def test_every_alert_has_a_severity_and_says_what_to_do(helm: Helm) -> None:
    values = merged(EVERYTHING, {"prometheusRule": {"runbookUrl": "https://runbook.example"}})

    found = alerts(helm.render(values))

    assert all(alert["labels"]["severity"] in {"critical", "warning", "info"} for alert in found)
    assert all(set(alert["annotations"]) == {"summary", "description", "runbook_url"} for alert in found)
    links = [alert["annotations"]["runbook_url"] for alert in found]
    assert links == [f"https://runbook.example#{alert['alert'].lower()}" for alert in found]


def test_every_alert_is_in_the_documentation_and_has_its_section_in_the_runbook(everything: list[Manifest]) -> None:
    page, runbook = ((ROOT / "docs" / name).read_text() for name in ("chart.md", "runbook.md"))

    listed = re.findall(r"^\| \[`(Finetune\w+)`\]\(runbook\.md#(\w+)\) \| (\w+) \|", page, flags=re.MULTILINE)
    sections = re.findall(r"^## (\w+)$", runbook, flags=re.MULTILINE)
    parts = re.findall(r"^(?:## |- \*\*)(\w+)", runbook, flags=re.MULTILINE)

    found = [(alert["alert"], alert["labels"]["severity"]) for alert in alerts(everything)]
    assert listed == [(name, name.lower(), severity) for name, severity in found]
    assert sections == [name for name, _ in found]
    assert parts == [word for name, _ in found for word in (name, "Meaning", "Impact", "Diagnosis", "Mitigation")]


def test_the_dashboards_are_fresh_and_grafana_finds_them_by_their_label(everything: list[Manifest]) -> None:
    maps = [one for one in everything if one["kind"] == "ConfigMap"]

    assert {name: text for one in maps for name, text in one["data"].items()} == {
        name: build() for name, build in DASHBOARDS.items()
    }
    assert {one["metadata"]["labels"]["grafana_dashboard"] for one in maps} == {"1"}


def test_alerts_and_dashboards_use_series_that_are_exported(everything: list[Manifest]) -> None:
    from finetune_operator.shell.job_metrics import JobCollector
    from finetune_operator.shell.telemetry import Telemetry
    from finetune_trainer.train.report.metrics import TrainMetrics

    operator = CollectorRegistry()
    Telemetry(operator, version="0")
    operator.register(JobCollector(lambda: [FULL_JOB], skip=lambda *_: None))
    families = [*operator.collect(), *TrainMetrics().registry.collect()]
    # A counter's family is named without the ending that its samples have.
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}

    shown = [line for rows in (JOBS, JOB) for panels in rows.values() for panel in panels for line in panel.lines]
    used = {
        name for text in [*shown, *(alert["expr"] for alert in alerts(everything))] for name in METRIC.findall(text)
    }

    assert {name.removesuffix("_bucket") for name in used} <= exported
