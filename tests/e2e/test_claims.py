"""Model and data from a volume claim: `pvc://` sources."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import NAMESPACE, quick_job
from tests.e2e.gang import children
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.install import HUB_NAMESPACE
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = pytest.mark.e2e

CLAIM = "inputs"
#: Puts the demo's inputs on the claim, then stays to be asked what is there.
FILL = """
import shutil, time
from huggingface_hub import snapshot_download
for repository, kind, folder in (("tiny-qwen3-vl", "model", "model"), ("pages", "dataset", "pages")):
    snapshot_download(f"demo/{repository}", repo_type=kind, local_dir=f"/claim/{folder}")
    shutil.rmtree(f"/claim/{folder}/.cache")
open("/tmp/filled", "w").close()
time.sleep(3600)
"""
SCAN = """
import hashlib, json, pathlib
root = pathlib.Path("/claim")
print(json.dumps({
    str(path): [path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""]
    for path in [root, *root.rglob("*")]
}))
"""


def build_claim() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def build_keeper(image: str) -> Manifest:
    """Return the pod that fills the claim; it is ready when it has."""
    env = {"HF_ENDPOINT": f"http://hub.{HUB_NAMESPACE}.svc", "HF_HUB_DISABLE_XET": "1"}
    container = {
        "name": "keeper",
        "image": image,
        "command": ["python", "-c", FILL],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/filled"]}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "claim", "mountPath": "/claim"}],
    }
    security = {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "keeper", "namespace": NAMESPACE},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": security,
            "containers": [container],
            "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    }


@pytest.fixture
def filled_claim(kube: Kubectl, target: Target) -> Iterator[None]:
    """A claim with the demo's model and pages."""
    kube.apply(build_claim(), build_keeper(target.images["trainer"]))
    kube.run("wait", "--for=condition=Ready", "pod/keeper", "-n", NAMESPACE, "--timeout=10m")
    yield
    kube.delete("pod", "keeper", namespace=NAMESPACE)
    kube.delete("persistentvolumeclaim", CLAIM, namespace=NAMESPACE, wait=False)


def scan(kube: Kubectl) -> dict[str, list[object]]:
    """Return the time and the content's hash of everything on the claim."""
    found: dict[str, list[object]] = json.loads(kube.run("exec", "-n", NAMESPACE, "keeper", "--", "python", "-c", SCAN))
    return found


@pytest.mark.alone  # No other job may fetch these meanwhile.
@pytest.mark.usefixtures("filled_claim")
def test_model_and_data_are_taken_from_a_claim_that_is_only_read(
    kube: Kubectl, hub: RunningHub, submit: Callable[[Manifest], Manifest]
) -> None:
    before = scan(kube)
    hub.clear()
    pages = f"pvc://{CLAIM}/pages"
    sources = {"data__train__0__source": pages, "data__evaluation__0__source": pages}
    job = submit(quick_job("claims", model__source=f"pvc://{CLAIM}/model", **sources))

    validated = jobs.wait_until(
        kube,
        job,
        lambda state: jobs.condition(state, "Validated").get("status") in ("True", "False"),
        seconds=1800,
    )

    assert jobs.condition(validated, "Validated")["status"] == "True", validated["status"]
    (pod,) = children(kube, "pods", job, "prepare")
    mounts = [mount for container in pod["spec"]["containers"] for mount in container["volumeMounts"]]
    assert [mount["readOnly"] for mount in mounts if mount["name"] == "source-0"] == [True]
    assert [call for call in hub.calls() if "tiny-qwen3-vl" in call or "pages" in call] == []
    assert "/claim/model/config.json" in before
    assert scan(kube) == before
