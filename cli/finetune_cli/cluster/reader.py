"""A pod for a moment, with a job's volume: what is there is read when all pods of the job are gone."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from finetune_api import keys
from finetune_api.contract import ExitCode
from finetune_api.types import GROUP, KIND, VERSION
from finetune_api.workspace import WORKSPACE
from finetune_cli.cluster.connection import Cluster
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import Manifest, StoredJob

CONTAINER = "reader"
#: It ends by itself, should nobody be left to delete it.
_LIFE_SECONDS = 4 * 3600
#: Until it runs it is looked at so often, each time after so long.
_POLLS, _POLL_SECONDS = 300, 1.0
#: A block that does not come is asked for so many times in a row.
_TRIES = 10
#: Read at once: little enough to be kept in memory, enough that asking takes less time than reading.
BLOCK_BYTES = 4 << 20
#: What the platform gives to pods, taken over from one of the job's; and where the spec lets all of them run.
_OF_PODS, _OF_SCHEDULE = ("securityContext", "imagePullSecrets"), ("nodeSelector", "tolerations")
_IDS = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
_SECURITY = {
    "runAsNonRoot": True,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


def reader_pod(job: StoredJob, pods: list[Manifest], *, image: str | None = None) -> Manifest:
    """Return a pod that sees the job's volume, read-only, and does nothing; as like those of the job as may be."""
    storage, ran = job.status.storage, job.status.image
    assert storage is not None
    like, schedule = (pods[0]["spec"] if pods else {}), job.part("schedule")
    container = {
        "name": CONTAINER,
        "image": image or (ran.name if ran is not None else None),
        "command": ["sleep", str(_LIFE_SECONDS)],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "workspace", "mountPath": WORKSPACE, "readOnly": True}],
    }
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": job.name, "uid": job.uid}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "finetune-download-",
            "labels": {keys.LABEL_NAME: "finetune-download", keys.LABEL_MANAGED_BY: "finetune"},
            "ownerReferences": [owner],
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _LIFE_SECONDS,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {**_SECURITY, **_IDS},
            **{name: like[name] for name in _OF_PODS if name in like},
            **{name: schedule[name] for name in _OF_SCHEDULE if name in schedule},
            "containers": [container],
            "volumes": [{"name": "workspace", "persistentVolumeClaim": {"claimName": storage.claim}}],
        },
    }


@contextlib.contextmanager
def reading(cluster: Cluster, job: StoredJob, pod: Manifest) -> Iterator[Callable[[Path], Iterator[bytes]]]:
    """Yield what reads a file of the job's folder, part by part, while the pod is there."""
    storage = job.status.storage
    assert storage is not None
    root = Path(WORKSPACE) / storage.folder
    name = _create(cluster, pod)["metadata"]["name"]
    try:
        _wait(cluster, name)
        yield lambda path: _parts(cluster, name, root / path)
    finally:
        with contextlib.suppress(RefusalError):  # it ends by itself
            cluster.delete_pod(name)


def _create(cluster: Cluster, pod: Manifest) -> Manifest:
    """Create the pod; where it may not run as our user, as on OpenShift, as the one that the platform gives it.

    Once all pods of the job are gone nothing tells which of the two it is.
    """
    try:
        return cluster.create_pod(pod)
    except RefusalError as refusal:
        if refusal.code != ExitCode.ACCESS_REFUSED:
            raise
    security = {name: value for name, value in pod["spec"]["securityContext"].items() if name not in _IDS}
    return cluster.create_pod({**pod, "spec": {**pod["spec"], "securityContext": security}})


def _wait(cluster: Cluster, name: str) -> None:
    """Wait until the pod runs; fails with why it does not."""
    state: Manifest = {}
    for _ in range(_POLLS):
        state = cluster.pod(name)["status"]
        if state.get("phase") != "Pending":
            break
        time.sleep(_POLL_SECONDS)
    if state.get("phase") != "Running":
        text = f"pod {name}, which was to read the volume, does not run: {_why(state)}; see to that, or --image"
        raise RefusalError(text, ExitCode.CLUSTER_UNAVAILABLE)


def _why(state: dict[str, Any]) -> str:
    """Return in one line why a pod does not run."""
    waiting = [one.get("state", {}).get("waiting") for one in state.get("containerStatuses", [])]
    unmet = [one for one in state.get("conditions", []) if one["status"] == "False"]
    told = [*filter(None, waiting), *unmet, state]
    words = ((one.get("reason"), one.get("message")) for one in told)
    return next((": ".join(filter(None, pair)) for pair in words if any(pair)), str(state.get("phase")))


def _parts(cluster: Cluster, pod: str, path: Path) -> Iterator[bytes]:
    """Yield a file block by block: a stream of gigabytes over an API server breaks, and a block is asked for again."""
    number, tries = 0, _TRIES
    while True:
        command = ["dd", f"if={path}", f"bs={BLOCK_BYTES}", f"skip={number}", "count=1", "status=none"]
        try:
            block = cluster.execute(pod, CONTAINER, command)
        except RefusalError as refusal:
            tries -= 1
            if refusal.code != ExitCode.CLUSTER_UNAVAILABLE or not tries:
                raise
            time.sleep(_POLL_SECONDS)
            continue
        yield block
        if len(block) < BLOCK_BYTES:
            return
        number, tries = number + 1, _TRIES
