"""Installs the chart and puts a Hub with its inputs beside it; repeating it changes nothing."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.stack.kubectl import Manifest
from tests.stack.target import Target

ROOT = Path(__file__).parents[2]
RELEASE = "finetune-operator"
SYSTEM_NAMESPACE = "finetune-system"
HUB_NAMESPACE = "finetune-hub"
CRD = "finetunejobs.finetune.dev"
#: On the namespace of an operator that came from here, in a cluster that is somebody's.
LABEL_OURS = "finetune.dev/demo"
#: On every namespace that is made here.
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
#: Test accounts of the Hub in tests/hub; they open nothing else.
WRITE_TOKEN = "hf_demo_write"
READ_TOKEN = "hf_demo_read"


@dataclass(frozen=True)
class Stack:
    """An installed operator and a Hub with inputs."""

    target: Target

    def namespace(self, name: str) -> None:
        """Have a namespace that enforces Pod Security "restricted" and holds the Hub tokens."""
        self.target.kubectl.apply(
            _namespace(name, RESTRICTED),
            _secret("hub-token", WRITE_TOKEN, namespace=name),
            _secret("hub-read-token", READ_TOKEN, namespace=name),
        )


def _namespace(name: str, labels: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _secret(name: str, token: str, *, namespace: str) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}}


def install(target: Target) -> Stack:
    """Have the operator and the Hub running; returns when both are ready."""
    _claim(target)
    stack = Stack(target=target)
    stack.namespace(HUB_NAMESPACE)
    _start_hub(target)
    install_chart(target)
    return stack


def _claim(target: Target) -> None:
    """Have the operator's namespace; raises SystemExit if a given cluster has an operator of its own."""
    if target.is_ours:
        target.kubectl.apply(_namespace(SYSTEM_NAMESPACE, RESTRICTED))
        return
    if not _is_claimed(target):
        _check_no_operator(target)
    target.kubectl.apply(_namespace(SYSTEM_NAMESPACE, RESTRICTED | {LABEL_OURS: "true"}))


def _check_no_operator(target: Target) -> None:
    for kind, name in (("crd", CRD), ("namespace", SYSTEM_NAMESPACE)):
        if target.kubectl.get(kind, name, namespace=SYSTEM_NAMESPACE) is not None:
            raise SystemExit(
                f"The cluster has the {kind} {name} already, which is not of the demo. The demo installs an operator "
                "of its own and removes it with all FinetuneJobs: give it a cluster without."
            )


def _is_claimed(target: Target) -> bool:
    namespace = target.kubectl.get("namespace", SYSTEM_NAMESPACE, namespace=SYSTEM_NAMESPACE)
    return namespace is not None and LABEL_OURS in namespace["metadata"].get("labels", {})


def install_chart(target: Target, *, replicas: int = 1, more: Manifest | None = None) -> None:
    """Have that many operators, with more values of the chart or others; returns when they are ready."""
    values = {
        "replicas": replicas,
        "image": _image(target.images["operator"]),
        "trainerImage": _image(target.images["trainer"]),
        "hub": {"endpoint": f"http://hub.{HUB_NAMESPACE}.svc"},
        "simulatedAccelerator": target.is_ours,
        **(more or {}),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(values, file)
        file.flush()
        chart = str(ROOT / "charts" / "finetune-operator")
        where = ["--namespace", SYSTEM_NAMESPACE]
        # Tests may have applied the CRD before; a given cluster had none, and its Helm may not know the second flag.
        adopt_crd = ["--take-ownership", "--force-conflicts"] if target.is_ours else []
        run_helm(target, "upgrade", "--install", RELEASE, chart, *where, "--values", file.name, *adopt_crd)
    # Not Helm's --wait: it takes a rollout that failed before for the one that has just begun.
    rollout = ["rollout", "status", "deployment/finetune-operator", "-n", SYSTEM_NAMESPACE, "--timeout=10m"]
    target.kubectl.run(*rollout)


def run_helm(target: Target, *arguments: str) -> None:
    """Run Helm, whose notes are of interest only when it fails."""
    done = subprocess.run(
        [target.helm, *arguments], env=target.kubectl.environment, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"helm {arguments[0]} failed:\n{done.stdout}{done.stderr}")


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def _start_hub(target: Target) -> None:
    text = (ROOT / "tests" / "hub" / "manifest.yaml").read_text().replace("HUB_IMAGE", target.images["hub"])
    manifests = [
        manifest | {"metadata": manifest["metadata"] | {"namespace": HUB_NAMESPACE}}
        for manifest in yaml.safe_load_all(text)
    ]
    target.kubectl.apply(*manifests)
    target.kubectl.run("rollout", "status", "deployment/hub", "-n", HUB_NAMESPACE, "--timeout=10m")


def uninstall(target: Target, *namespaces: str) -> None:
    """Remove the chart, the CRD with all its objects, the Hub and the given namespaces, if they came from here."""
    kubectl = target.kubectl
    if not _is_claimed(target):
        raise SystemExit(f"Nothing is removed: the namespace {SYSTEM_NAMESPACE} is not of the demo, or not there.")
    kubectl.run("delete", "namespace", *namespaces, HUB_NAMESPACE, "--ignore-not-found")
    run_helm(target, "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait")
    kubectl.run("delete", "crd", CRD, "--ignore-not-found")
    kubectl.run("delete", "namespace", SYSTEM_NAMESPACE, "--ignore-not-found")
