"""How much memory the operator takes at its peak: started among jobs that are there, and at full lists afterwards.

Everything but the jobs is real: API server, chart, its memory limit. The jobs are objects with statuses that nothing
runs (families.py); rank 0 of each living one is a pod that answers for all of them.
"""

import asyncio
import json
import re
import time

from kubernetes.aio import client, config

from benchmarks.figures import report
from benchmarks.reconcile.families import NODES, create_families
from finetune_api import keys
from finetune_api.quantities import parse_quantity
from tests.stack import jobs
from tests.stack.install import SYSTEM_NAMESPACE, install, install_chart
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

NAMESPACE = "finetune-benchmark"
OPERATOR = "deployment/finetune-operator"
RESYNC_SECONDS = 60
#: So long after the start kopf has listed, too; and in so long there is a full list, whenever it began.
SETTLE_SECONDS = 90
NUM_LISTS = 3
PLAYER = f"""
import time
from aiohttp import web
async def progress(request):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = {{"stage": "Training", "step": int(time.time()) % 100000, "totalSteps": 100000, "lastUpdateTime": now}}
    metrics = {{"trainLoss": 0.5, "learningRate": 1e-5, "score": 0.9, "bestScore": 0.9, "baselineScore": 0.4}}
    return web.json_response({{"attempt": 1, "progress": told, "metrics": metrics, "lastStepTime": now}})
app = web.Application()
app.router.add_get("/progress", progress)
web.run_app(app, port={keys.TELEMETRY_PORT}, access_log=None)
"""


def run(target: Target, finished: int = 1000, living: int = 0) -> None:
    """Run the benchmark and print its figures."""
    stack = install(target)
    kube = target.kubectl
    kube.run("scale", OPERATOR, "-n", SYSTEM_NAMESPACE, "--replicas=0")
    try:
        kube.delete("namespace", NAMESPACE, namespace=NAMESPACE)
        stack.namespace(NAMESPACE)
        asyncio.run(_populate(kube, finished=finished, living=living, address=_start_player(target)))
        figures = _measure(kube)
    finally:
        kube.delete("namespace", NAMESPACE, namespace=NAMESPACE, wait=False)
        install_chart(target)
    limit = _limit(kube)
    goal = f"under {limit:.0f}"
    report(
        "reconcile-memory",
        [
            ("finished jobs, with 3 Jobs and 4 pods each", finished, "", ""),
            ("living jobs, with 2 Jobs and 3 pods each", living, "", ""),
            ("seconds until ready", figures["ready"], "s", ""),
            ("peak at a cold start", figures["start"], "MB", goal),
            (f"peak over {NUM_LISTS} full lists", figures["lists"], "MB", goal),
            ("resident afterwards", figures["after"], "MB", ""),
            ("times killed", figures["killed"], "", "0"),
        ],
    )


def _start_player(target: Target) -> str:
    """Have a pod that answers for rank 0; return its address."""
    kube = target.kubectl
    kube.apply(_player(target.images["operator"]))
    kube.run("wait", "--for=condition=Ready", "pod/player", "-n", NAMESPACE, "--timeout=2m")
    pod = kube.get("pod", "player", namespace=NAMESPACE)
    assert pod is not None
    return str(pod["status"]["podIP"])


def _player(image: str) -> Manifest:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "player", "image": image, "command": ["python", "-c", PLAYER], "securityContext": security}
    metadata = {"name": "player", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


async def _populate(kube: Kubectl, *, finished: int, living: int, address: str) -> None:
    template = jobs.load_example(
        "demo",
        namespace=NAMESPACE,
        resources__nodes=NODES,
        storage={"accessMode": "ReadWriteMany", "existingClaim": "shared"},
    )
    configuration = client.Configuration()
    await config.load_kube_config(config_file=kube.kubeconfig, client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        await create_families(api, template, finished=finished, living=living, address=address)


def _measure(kube: Kubectl) -> dict[str, float]:
    began = time.monotonic()
    kube.run("set", "env", OPERATOR, "-n", SYSTEM_NAMESPACE, f"RESYNC_SECONDS={RESYNC_SECONDS}")
    kube.run("scale", OPERATOR, "-n", SYSTEM_NAMESPACE, "--replicas=1")
    kube.run("rollout", "status", OPERATOR, "-n", SYSTEM_NAMESPACE, "--timeout=5m")
    ready = time.monotonic() - began
    time.sleep(SETTLE_SECONDS)
    start, _ = _read_memory(kube)
    kube.run("exec", OPERATOR, "-n", SYSTEM_NAMESPACE, "--", "sh", "-c", "echo 5 > /proc/1/clear_refs")
    time.sleep(NUM_LISTS * RESYNC_SECONDS)
    lists, after = _read_memory(kube)
    return {"ready": ready, "start": start, "lists": lists, "after": after, "killed": _count_restarts(kube)}


def _read_memory(kube: Kubectl) -> tuple[float, float]:
    """Return the operator's peak since it was last set back, and what it has now, in MB."""
    text = kube.run("exec", OPERATOR, "-n", SYSTEM_NAMESPACE, "--", "cat", "/proc/1/status")
    peak, now = (re.findall(rf"^{field}:\s+(\d+) kB", text, flags=re.MULTILINE)[0] for field in ("VmHWM", "VmRSS"))
    return int(peak) / 1024, int(now) / 1024


def _count_restarts(kube: Kubectl) -> float:
    pods = kube.find("pods", namespace=SYSTEM_NAMESPACE, selector="app.kubernetes.io/name=finetune-operator")
    return float(sum(entry["restartCount"] for pod in pods for entry in pod["status"].get("containerStatuses", ())))


def _limit(kube: Kubectl) -> float:
    """Return the chart's memory limit in MB."""
    path = "jsonpath={.spec.template.spec.containers[0].resources}"
    resources = json.loads(kube.run("get", OPERATOR, "-n", SYSTEM_NAMESPACE, "-o", path))
    return float(parse_quantity(resources["limits"]["memory"])) / 1024 / 1024
