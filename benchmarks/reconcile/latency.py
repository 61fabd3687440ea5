"""From create to the prepare Job, and what the operator writes and takes, job after job.

The namespace has a quota that allows no pods, so that only the operator works. On the project's own cluster writes are
counted in the API server's audit log, whatever part of the operator they come from; elsewhere in its metrics.
"""

import re
import statistics
import subprocess
import threading
import time
from urllib.request import urlopen

from kubernetes.client import CustomObjectsApi
from kubernetes.config import new_client_from_config

from benchmarks.figures import report
from finetune_api.types import GROUP, PLURAL, VERSION
from tests.cluster import audit
from tests.stack import jobs
from tests.stack.install import RELEASE, SYSTEM_NAMESPACE, install
from tests.stack.kubectl import Kubectl
from tests.stack.target import Target

NAMESPACE = "finetune-benchmark"
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}"
QUIET_SECONDS = 60
#: Between two creations: a busy cluster, not a burst, whose queue would be measured instead.
PAUSE_SECONDS = 0.5
WRITES = ("POST", "PUT", "PATCH", "DELETE")


def run(target: Target, num_jobs: int) -> None:
    """Run the benchmark and print its figures."""
    stack = install(target)
    kube = target.kubectl
    kube.delete("namespace", NAMESPACE, namespace=NAMESPACE)
    stack.namespace(NAMESPACE)
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "no-pods", "namespace": NAMESPACE},
            "spec": {"hard": {"pods": "0"}},
        }
    )
    at_start = count_writes(target)
    seconds = measure_latency(kube, num_jobs)
    time.sleep(QUIET_SECONDS)  # what the last jobs set off has ended: refused pods are told after half a minute
    before = count_writes(target)
    time.sleep(QUIET_SECONDS)
    after = count_writes(target)
    memory = read_memory(kube)
    kube.delete("namespace", NAMESPACE, namespace=NAMESPACE, wait=False)
    ordered = sorted(seconds)
    report(
        "reconcile",
        [
            ("jobs", num_jobs, "", ""),
            ("create to prepare Job, median", statistics.median(ordered), "s", ""),
            ("create to prepare Job, p95", ordered[int(0.95 * (len(ordered) - 1))], "s", "under 1"),
            ("create to prepare Job, max", ordered[-1], "s", ""),
            ("resident memory", memory / 1e6, "MB", "under 150"),
            ("writes for a job that a quota holds back", (before - at_start) / num_jobs, "", ""),
            (f"writes in {QUIET_SECONDS} quiet seconds", after - before, "", "0"),
        ],
    )


def measure_latency(kube: Kubectl, num_jobs: int) -> list[float]:
    """Return the seconds from each FinetuneJob's creation to the sight of its prepare Job."""
    template = jobs.load_example("demo", namespace=NAMESPACE)
    seen: dict[str, float] = {}
    watcher = subprocess.Popen(
        [kube.program, "get", "jobs", "-n", NAMESPACE, "--watch", "-o", "json", "--output-watch-events"],
        stdout=subprocess.PIPE,
        text=True,
        env=kube.environment,
    )
    thread = threading.Thread(target=_note_jobs, args=(watcher, seen), daemon=True)
    thread.start()
    created: dict[str, float] = {}
    with new_client_from_config(kube.kubeconfig) as client:
        objects = CustomObjectsApi(client)
        for index in range(num_jobs):
            name = f"job-{index:04d}"
            body = jobs.named(template, name)
            created[name] = time.monotonic()
            objects.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, body)
            time.sleep(PAUSE_SECONDS)
    while len(seen) < num_jobs and time.monotonic() - created[f"job-{num_jobs - 1:04d}"] < QUIET_SECONDS:
        thread.join(timeout=0.1)
    watcher.kill()
    watcher.wait()
    if missing := created.keys() - seen.keys():
        raise SystemExit(f"no prepare Job was seen for {len(missing)} of {num_jobs} jobs; is the operator running?")
    return [seen[name] - created[name] for name in created]


def _note_jobs(watcher: "subprocess.Popen[str]", seen: dict[str, float]) -> None:
    for line in watcher.stdout or ():
        if found := re.search(r'"finetune\.dev/job": *"(job-\d+)"', line):
            seen.setdefault(found[1], time.monotonic())


def count_writes(target: Target) -> float:
    """Return how often the operator has written to the API server."""
    return audit.count_writes(OPERATOR) if target.is_ours else _writes(_read_metrics(target.kubectl))


def read_memory(kube: Kubectl) -> float:
    """Return the operator's resident bytes."""
    (memory,) = re.findall(r"^process_resident_memory_bytes (\S+)", _read_metrics(kube), flags=re.MULTILINE)
    return float(memory)


def _read_metrics(kube: Kubectl) -> str:
    with (
        kube.port_forward("deploy/finetune-operator", 8080, namespace=SYSTEM_NAMESPACE) as address,
        urlopen(f"{address}/metrics", timeout=10) as answer,
    ):
        return str(answer.read().decode())


def _writes(text: str) -> float:
    series = re.findall(r"^finetune_operator_api_requests_total\{(.*)\} (\S+)", text, flags=re.MULTILINE)
    return sum(float(value) for labels, value in series if any(f'"{verb}"' in labels for verb in WRITES))
