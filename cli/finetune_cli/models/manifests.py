"""A server as what Kubernetes or KServe takes. Pure."""

from collections.abc import Mapping
from typing import Any

from finetune_cli.models.servers import Server

Manifest = dict[str, Any]
DEPLOYMENT, KSERVE = "deployment", "kserve"
TOKEN_SECRET, TOKEN_KEY = "hub-read-token", "token"
_CACHE = "/data"
_GI = 1 << 30
#: A large model is fetched and loaded for so long, at most, looked at every so many seconds.
_START_PROBE = {"periodSeconds": 10, "failureThreshold": 180}


def container(server: Server, *, num_bytes: int, secret: tuple[str, str] | None, hub: str | None) -> Manifest:
    """Return the container of a server.

    Args:
        server: what is run.
        num_bytes: of the model's weights.
        secret: name and key of a Secret with a read token, None of a public model.
        hub: address of a Hub other than the public one.

    """
    memory = f"{2 * num_bytes // _GI + 2}Gi"  # the weights while they are loaded, and the program
    variables: list[Manifest] = [
        {"name": name, "value": _CACHE} for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE", "HOME")
    ]
    variables += [{"name": "HF_ENDPOINT", "value": hub}] if hub else []
    if secret is not None:
        variables.append(
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": dict(zip(("name", "key"), secret, strict=True))}}
        )
    probe = {"httpGet": {"path": "/health", "port": server.port}}
    limits = {"memory": memory, **({"nvidia.com/gpu": 1} if server.needs_accelerator else {})}
    return {
        "name": "server",
        "image": server.image,
        "args": list(server.arguments),
        "env": variables,
        "ports": [{"containerPort": server.port}],
        "resources": {"requests": {"cpu": "2", "memory": memory}, "limits": limits},
        "startupProbe": {**probe, **_START_PROBE},
        "readinessProbe": probe,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "cache", "mountPath": _CACHE}],
    }


def deployment(name: str, own: Manifest, *, namespace: str, annotations: Mapping[str, str]) -> list[Manifest]:
    """Return a Deployment, and the Service before it at port 80, where the job and its Secret are."""
    labels = {"app.kubernetes.io/name": name}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    pod = {"metadata": {"labels": labels}, "spec": _pod(own)}
    (port,) = own["ports"]
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "annotations": dict(annotations)},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": port["containerPort"]}]},
        },
    ]


def inference_service(name: str, own: Manifest, *, namespace: str, annotations: Mapping[str, str]) -> list[Manifest]:
    """Return KServe's object, with the same container, where the job and its Secret are."""
    return [
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations)},
            "spec": {"predictor": _pod({**own, "name": "kserve-container"})},
        }
    ]


def _pod(own: Manifest) -> Manifest:
    return {
        "automountServiceAccountToken": False,
        "containers": [own],
        "volumes": [{"name": "cache", "emptyDir": {}}],
    }
