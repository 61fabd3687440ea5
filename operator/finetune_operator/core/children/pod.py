"""What all trainer pods share: the Pod Security "restricted" profile, volumes and paths."""

from typing import Any

from finetune_api import keys, workspace
from finetune_api.types import FinetuneJob, SecretKey
from finetune_operator.core import names
from finetune_operator.core.pinning import pinned_image
from finetune_operator.core.platform import Platform

READ_TOKEN_VOLUME = "read-token"  # noqa: S105 - the name of a volume
WRITE_TOKEN_VOLUME = "write-token"  # noqa: S105 - the name of a volume
READ_BUCKET_VOLUME = "read-bucket"
WRITE_BUCKET_VOLUME = "write-bucket"
#: Enough to end a step; with the kubelet's own time, accelerators are free within a minute.
TERMINATION_GRACE_SECONDS = 50
#: A pod on a node that went silent is given up after so long; Kubernetes' default is five minutes.
LOST_NODE_SECONDS = 60
LOST_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY = {
    "runAsNonRoot": True,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_spec(*, platform: Platform) -> dict[str, Any]:
    """Return the part of a pod's spec that is the same in all roles."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "securityContext": POD_SECURITY
        | platform.pod_security.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "tolerations": until_node_is_lost(),
    }
    if platform.trainer_image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in platform.trainer_image_pull_secrets]
    return spec


def until_node_is_lost() -> list[dict[str, Any]]:
    """Return the tolerations of a pod that leaves a silent node soon."""
    common = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_NODE_SECONDS}
    return [{"key": key, **common} for key in LOST_NODE_TAINTS]


def container(job: FinetuneJob, role: str, *, platform: Platform, env: dict[str, str]) -> dict[str, Any]:
    """Return a container that runs one role of the trainer image and sees config and /tmp."""
    image = pinned_image(job, platform).name
    return {
        "name": role,
        "image": image,
        "imagePullPolicy": platform.trainer_image_pull_policy,
        "args": [role],
        "env": variables({**_common_environment(), keys.ENV_IMAGE: image, **env}),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePath": workspace.TERMINATION_MESSAGE,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "config", "mountPath": _folder(workspace.RUN_CONFIG), "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        ],
    }


def variables(values: dict[str, str]) -> list[dict[str, Any]]:
    """Return environment variables in Kubernetes' form."""
    return [{"name": name, "value": value} for name, value in values.items()]


def _common_environment() -> dict[str, str]:
    return {
        keys.ENV_RUN_CONFIG: workspace.RUN_CONFIG,
        keys.ENV_TERMINATION_MESSAGE: workspace.TERMINATION_MESSAGE,
        "HOME": "/tmp",  # noqa: S108 - a volume of the pod's own
        "TMPDIR": "/tmp",  # noqa: S108 - a volume of the pod's own
        "USER": "finetune",  # the user id has no name in most images, and some libraries ask for it
        "PYTHONUNBUFFERED": "1",
    }


def common_volumes(job: FinetuneJob) -> list[dict[str, Any]]:
    """Return the volumes behind the mounts of `container`."""
    return [
        {"name": "config", "configMap": {"name": names.run_config(job)}},
        {"name": "tmp", "emptyDir": {}},
    ]


def workspace_volume(job: FinetuneJob) -> dict[str, Any]:
    """Return the job's volume."""
    return {"name": "workspace", "persistentVolumeClaim": {"claimName": names.workspace(job)}}


def workspace_mount(job: FinetuneJob) -> dict[str, Any]:
    """Return where the job's volume is seen, writable."""
    mount: dict[str, Any] = {"name": "workspace", "mountPath": workspace.WORKSPACE}
    if job.spec.storage.sub_path not in (None, names.WHOLE_CLAIM):
        mount["subPath"] = job.spec.storage.sub_path
    return mount


def workspace_path(job: FinetuneJob) -> str:
    """Return where the job's folder is seen.

    One that nobody has named is made by the trainer: where a kubelet makes a subPath it belongs to root, and on a file
    server that trusts no root it cannot be made at all.
    """
    is_named = job.spec.storage.existing_claim is None or job.spec.storage.sub_path is not None
    return workspace.WORKSPACE if is_named else f"{workspace.WORKSPACE}/{names.folder(job)}"


def token_volume(name: str, secret: SecretKey, path: str) -> dict[str, Any]:
    """Return a volume with one token as one file; the kubelet reads the Secret, the operator never does."""
    items = [{"key": secret.key, "path": path.rpartition("/")[2]}]
    return {"name": name, "secret": {"secretName": secret.name, "items": items, "defaultMode": 0o440}}


def bucket_volume(name: str, secret: str) -> dict[str, Any]:
    """Return a volume with a file for each key of a Secret."""
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}


def bucket_mount(name: str, folder: str) -> dict[str, Any]:
    """Return where the keys of a bucket are seen."""
    return {"name": name, "mountPath": folder, "readOnly": True}


def token_mount(name: str, path: str) -> dict[str, Any]:
    """Return where a token is seen."""
    return {"name": name, "mountPath": _folder(path), "readOnly": True}


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
