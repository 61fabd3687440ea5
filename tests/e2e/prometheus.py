"""A real Prometheus on this machine, which finds and scrapes what the chart's monitors select, and has its alerts."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.chart import promtool
from tests.chart.helm import Manifest, only
from tests.chart.program import find
from tests.stack.install import RELEASE, ROOT, SYSTEM_NAMESPACE
from tests.stack.kubectl import Kubectl

PORT = 39090
SECONDS = 1
START_SECONDS = 60


@dataclass(frozen=True)
class Prometheus:
    """One that runs, and since when."""

    began: float

    def over_time(self, expression: str) -> list[Manifest]:
        """Return the series of an expression from the start until now, each with its values."""
        window = {"start": self.began, "end": time.time(), "step": SECONDS}
        return list(self._ask("query_range", {"query": expression, **window})["result"])

    def rules(self) -> list[Manifest]:
        """Return the alerts as it evaluates them."""
        return [rule for group in self._ask("rules", {})["groups"] for rule in group["rules"]]

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            self.rules()
        except URLError:
            return False
        return True

    def _ask(self, what: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        with urlopen(f"http://127.0.0.1:{PORT}/api/v1/{what}?{urlencode(arguments)}", timeout=30) as answer:
            return json.load(answer)["data"]


@contextmanager
def scraping(kube: Kubectl) -> Iterator[Prometheus]:
    """Scrape the operator, and rank 0 of every training."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        manifests = _render(place)
        (place / "alerts.yaml").write_text(yaml.safe_dump(only(manifests, "PrometheusRule")["spec"]))
        config = {
            "global": {"scrape_interval": f"{SECONDS}s", "evaluation_interval": f"{SECONDS}s"},
            "rule_files": ["alerts.yaml"],
            "scrape_configs": [
                _of_service(only(manifests, "ServiceMonitor")["spec"], kube),
                _of_pods(only(manifests, "PodMonitor")["spec"], kube),
            ],
        }
        (place / "prometheus.yml").write_text(yaml.safe_dump(config))
        where = [f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data"]
        program = str(promtool.ensure().with_name("prometheus"))
        command = [program, *where, f"--web.listen-address=127.0.0.1:{PORT}"]
        with (place / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                yield _wait(Prometheus(time.time()), process, place / "log")
            finally:
                process.terminate()


def _wait(prometheus: Prometheus, process: "subprocess.Popen[bytes]", log: Path) -> Prometheus:
    while not prometheus.is_ready():
        is_late = time.time() > prometheus.began + START_SECONDS
        if is_late or process.poll() is not None:
            raise AssertionError(log.read_text()[-2000:])
        time.sleep(0.2)
    return prometheus


def _render(folder: Path) -> list[Manifest]:
    """Return the chart as the test cluster has it, with its monitors and alerts."""
    images = {name: {"repository": "unused"} for name in ("image", "trainerImage")}
    monitors = {name: {"enabled": True} for name in ("serviceMonitor", "podMonitor", "prometheusRule")}
    values = folder / "values.yaml"
    values.write_text(json.dumps(images | monitors))
    program = find()
    assert program is not None
    chart = ROOT / "charts" / "finetune-operator"
    command = [str(program), "template", RELEASE, str(chart), "--namespace", SYSTEM_NAMESPACE, "--values", str(values)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def _of_service(monitor: Manifest, kube: Kubectl) -> Manifest:
    """Return what the Prometheus operator makes of a ServiceMonitor."""
    (endpoint,) = monitor["endpoints"]
    return {
        "job_name": "service",
        "honor_labels": endpoint["honorLabels"],
        "kubernetes_sd_configs": [{"role": "endpointslice", "kubeconfig_file": kube.kubeconfig}],
        "relabel_configs": [
            *_kept("service_label", monitor["selector"]["matchLabels"]),
            {
                "source_labels": ["__meta_kubernetes_endpointslice_port_name"],
                "regex": endpoint["port"],
                "action": "keep",
            },
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_service_name"], "target_label": "job"},
        ],
    }


def _of_pods(monitor: Manifest, kube: Kubectl) -> Manifest:
    """Return what the Prometheus operator makes of a PodMonitor."""
    (endpoint,) = monitor["podMetricsEndpoints"]
    own = [
        {"source_labels": one["sourceLabels"], "target_label": one["targetLabel"]} for one in endpoint["relabelings"]
    ]
    port = {
        "source_labels": ["__meta_kubernetes_pod_container_port_name"],
        "regex": endpoint["port"],
        "action": "keep",
    }
    return {
        "job_name": "pods",
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": kube.kubeconfig}],
        "relabel_configs": [
            *_kept("pod_label", monitor["selector"]["matchLabels"]),
            port,
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            *own,
        ],
    }


def _kept(kind: str, labels: Mapping[str, str]) -> list[Manifest]:
    """Keep what has the labels; in names of Prometheus there are no dots, dashes and slashes."""
    table = str.maketrans("./-", "___")
    return [
        {"source_labels": [f"__meta_kubernetes_{kind}_{name.translate(table)}"], "regex": value, "action": "keep"}
        for name, value in labels.items()
    ]
