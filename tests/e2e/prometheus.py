"""A real Prometheus on this machine, which scrapes what the chart's monitors select, and has its alerts."""

import json
import math
import subprocess
import tempfile
import threading
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
from tests.e2e.gang import LABEL_ROLE
from tests.stack.install import RELEASE, ROOT, SYSTEM_NAMESPACE
from tests.stack.kubectl import Kubectl

PORT = 39090
SECONDS = 1
START_SECONDS = 300
TARGETS = "targets.json"


@dataclass(frozen=True)
class Prometheus:
    """One that runs, and since when."""

    began: float

    def over_time(self, expression: str) -> list[Manifest]:
        """Return the series of an expression from the start until now, each with its values, the newest one last."""
        now = time.time()
        window = {"start": now - math.ceil(now - self.began), "end": now, "step": SECONDS}
        return list(self._ask("query_range", {"query": expression, **window})["result"])

    def has(self, expression: str) -> bool:
        """Tell whether an expression has a series now."""
        return bool(self._ask("query", {"query": expression})["result"])

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
def scraping(kube: Kubectl, namespace: str) -> Iterator[Prometheus]:
    """Scrape the operator, and rank 0 of every training in a namespace."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        manifests = _render(place)
        (place / "alerts.yaml").write_text(yaml.safe_dump(only(manifests, "PrometheusRule")["spec"]))
        config = {
            "global": {"scrape_interval": f"{SECONDS}s", "evaluation_interval": f"{SECONDS}s"},
            "rule_files": ["alerts.yaml"],
            "scrape_configs": [
                _of_service(only(manifests, "ServiceMonitor")["spec"]),
                _of_pods(only(manifests, "PodMonitor")["spec"]),
            ],
        }
        (place / "prometheus.yml").write_text(yaml.safe_dump(config))
        where = [f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data"]
        program = str(promtool.ensure().with_name("prometheus"))
        command = [program, *where, f"--web.listen-address=127.0.0.1:{PORT}"]
        found = [(SYSTEM_NAMESPACE, ""), (namespace, f"{LABEL_ROLE}=train")]
        with (
            _discovering(kube, found, place / TARGETS),
            (place / "log").open("w") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as process,
        ):
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


def _of_service(monitor: Manifest) -> Manifest:
    """Return what the Prometheus operator makes of a ServiceMonitor."""
    (endpoint,) = monitor["endpoints"]
    port = {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": endpoint["port"], "action": "keep"}
    own = {"source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_instance"], "target_label": "job"}
    kept = _kept(monitor["selector"]["matchLabels"])
    return _scrape("service", [*kept, port, own]) | {"honor_labels": endpoint["honorLabels"]}


def _of_pods(monitor: Manifest) -> Manifest:
    """Return what the Prometheus operator makes of a PodMonitor."""
    (endpoint,) = monitor["podMetricsEndpoints"]
    own = [
        {"source_labels": one["sourceLabels"], "target_label": one["targetLabel"]} for one in endpoint["relabelings"]
    ]
    port = {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": endpoint["port"], "action": "keep"}
    return _scrape("pods", [*_kept(monitor["selector"]["matchLabels"]), port, *own])


def _scrape(name: str, relabeled: list[Manifest]) -> Manifest:
    namespace = {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"}
    found = [{"files": [TARGETS], "refresh_interval": f"{SECONDS}s"}]
    return {"job_name": name, "file_sd_configs": found, "relabel_configs": [*relabeled, namespace]}


def _kept(labels: Mapping[str, str]) -> list[Manifest]:
    """Keep what has the labels."""
    return [{"source_labels": [_meta(name)], "regex": value, "action": "keep"} for name, value in labels.items()]


def _meta(label: str) -> str:
    """Return what Prometheus calls a label of a pod: in its names are no dots, dashes and slashes."""
    return f"__meta_kubernetes_pod_label_{label.translate(str.maketrans('./-', '___'))}"


@contextmanager
def _discovering(kube: Kubectl, found: list[tuple[str, str]], file: Path) -> Iterator[None]:
    """Write down where pods are, as Prometheus does itself: Debian's is built without Kubernetes."""
    stop = threading.Event()

    def discover() -> None:
        while not stop.is_set():
            pods = [pod for place, labels in found for pod in kube.find("pods", namespace=place, selector=labels)]
            aside = file.with_suffix(".new")
            aside.write_text(json.dumps([target for pod in pods for target in _targets(pod)]))
            aside.rename(file)
            stop.wait(SECONDS)

    thread = threading.Thread(target=discover, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _targets(pod: Manifest) -> Iterator[Manifest]:
    address, metadata = pod["status"].get("podIP"), pod["metadata"]
    labels = {_meta(name): value for name, value in metadata["labels"].items()}
    for container in pod["spec"]["containers"] if address else ():
        for port in container.get("ports", ()):
            own = {
                "__meta_kubernetes_namespace": metadata["namespace"],
                "__meta_kubernetes_pod_container_port_name": port["name"],
            }
            yield {"targets": [f"{address}:{port['containerPort']}"], "labels": labels | own}
