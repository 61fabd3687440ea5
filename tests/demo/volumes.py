"""Whether the cluster has volumes for several nodes: no StorageClass says so, hence one is asked for."""

import time

from tests.stack.kubectl import Kubectl, Manifest

NAME = "shared-volume-probe"
LIMIT_SECONDS = 60


def offers_shared_volumes(kubectl: Kubectl, *, namespace: str, image: str) -> bool:
    """Ask the default StorageClass for a ReadWriteMany volume; a refusal or silence of a minute is a no."""
    kubectl.apply(_claim(namespace), _pod(namespace, image))
    try:
        return _is_bound(kubectl, namespace)
    finally:
        kubectl.run("delete", f"pod/{NAME}", f"pvc/{NAME}", "-n", namespace, "--ignore-not-found", "--wait=false")


def _is_bound(kubectl: Kubectl, namespace: str) -> bool:
    refusal = f"involvedObject.name={NAME},reason=ProvisioningFailed"
    for _ in range(LIMIT_SECONDS):
        claim = kubectl.get("pvc", NAME, namespace=namespace) or {}
        if claim.get("status", {}).get("phase") == "Bound":
            return True
        if kubectl.run("get", "events", "-n", namespace, "--field-selector", refusal, "-o", "name"):
            return False
        time.sleep(1)
    return False


def _claim(namespace: str) -> Manifest:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
    metadata = {"name": NAME, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _pod(namespace: str, image: str) -> Manifest:
    """Return a pod that uses the claim: many classes make no volume before there is one."""
    container = {
        "name": "probe",
        "image": image,
        "command": ["python", "-c", ""],
        "volumeMounts": [{"name": "probe", "mountPath": "/probe"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "probe", "persistentVolumeClaim": {"claimName": NAME}}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "namespace": namespace}, "spec": spec}
