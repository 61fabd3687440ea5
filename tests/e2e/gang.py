"""What tests look at and break inside a running gang."""

from tests.stack.kubectl import Kubectl, Manifest

LABEL_JOB = "finetune.dev/job"
LABEL_ROLE = "finetune.dev/role"
OPERATOR = "app.kubernetes.io/name=finetune-operator"

#: Ends the training process of a rank as the kernel's OOM killer or a broken node would: without a word.
KILL_RANK = """
import os, pathlib, signal
for folder in pathlib.Path("/proc").iterdir():
    words = (folder / "cmdline").read_bytes().split(b"\\0") if folder.name.isdigit() else []
    if b"finetune_trainer.train.rank" in words and b"finetune_trainer.train.gang.agent" not in words:
        os.kill(int(folder.name), signal.SIGKILL)
        print("killed", folder.name)
"""


def children(kube: Kubectl, kind: str, job: Manifest, role: str = "") -> list[Manifest]:
    """Return the objects of one kind that belong to the job."""
    metadata = job["metadata"]
    selector = f"{LABEL_JOB}={metadata['name']}" + (f",{LABEL_ROLE}={role}" if role else "")
    return kube.find(kind, namespace=metadata["namespace"], selector=selector)


def names(objects: list[Manifest]) -> list[str]:
    """Return the names, sorted."""
    return sorted(entry["metadata"]["name"] for entry in objects)


def rank_pod(kube: Kubectl, job: Manifest, rank: int) -> str:
    """Return the name of the pod of one rank (one process per pod) of the running attempt."""
    pods = [pod for pod in children(kube, "pods", job, "train") if pod["status"]["phase"] == "Running"]
    label = "batch.kubernetes.io/job-completion-index"
    (found,) = [pod for pod in pods if pod["metadata"]["labels"][label] == str(rank)]
    return str(found["metadata"]["name"])


def kill_rank(kube: Kubectl, job: Manifest, rank: int) -> None:
    """Kill the training process of one rank with SIGKILL."""
    pod = rank_pod(kube, job, rank)
    killed = kube.run("exec", "-n", job["metadata"]["namespace"], pod, "--", "python3", "-c", KILL_RANK)
    assert killed.startswith("killed"), "no training process was found in the pod"


def tell_ranks_to_end(kube: Kubectl, job: Manifest) -> None:
    """Send SIGTERM to every rank's pod, as a kubelet does, without deleting it."""
    for pod in names(children(kube, "pods", job, "train")):
        end = "import os, signal; os.kill(1, signal.SIGTERM)"
        kube.run("exec", "-n", job["metadata"]["namespace"], pod, "--", "python3", "-c", end)


def build_idle_container(image: str, *, accelerators: int) -> Manifest:
    """Return a container that holds accelerators and does nothing."""
    return {
        "name": "main",
        "image": image,
        "command": ["sleep", "3600"],
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"memory": "16Mi", "nvidia.com/gpu": accelerators},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def kill_operator(kube: Kubectl) -> None:
    """Delete the operator's pod without a grace period."""
    kube.run("delete", "pod", "-n", "finetune-system", "-l", OPERATOR, "--grace-period=0", "--force", "--wait=false")


def events(kube: Kubectl, job: Manifest) -> list[str]:
    """Return the reasons of the Events of a job as the API server keeps it, oldest first."""
    metadata = job["metadata"]
    found = kube.find("events.events.k8s.io", namespace=metadata["namespace"])
    own = [entry for entry in found if entry.get("regarding", {}).get("uid") == metadata["uid"]]
    return [entry["reason"] for entry in sorted(own, key=lambda entry: entry["metadata"]["creationTimestamp"])]
