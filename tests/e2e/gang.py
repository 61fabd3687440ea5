"""What tests look at and break inside a running gang."""

from tests.cluster.api import wait_until
from tests.hub.running import RunningHub
from tests.stack.kubectl import Kubectl, Manifest

LABEL_JOB = "finetune.dev/job"
LABEL_ROLE = "finetune.dev/role"
OPERATOR = "app.kubernetes.io/name=finetune-operator"
#: Within which accelerators are free again.
FREED_SECONDS = 60

#: Sends a signal to the training process in a pod, such as SIGKILL, by which the kernel ends it when memory runs out.
SIGNAL_RANK = """
import os, pathlib, signal, sys
for folder in pathlib.Path("/proc").iterdir():
    words = (folder / "cmdline").read_bytes().split(b"\\0") if folder.name.isdigit() else []
    if b"finetune_trainer.train.rank" in words and b"finetune_trainer.train.gang.agent" not in words:
        os.kill(int(folder.name), getattr(signal, sys.argv[1]))
        print("told", folder.name)
"""


def children(kube: Kubectl, kind: str, job: Manifest, role: str = "") -> list[Manifest]:
    """Return the objects of one kind that belong to the job."""
    metadata = job["metadata"]
    selector = f"{LABEL_JOB}={metadata['name']}" + (f",{LABEL_ROLE}={role}" if role else "")
    return kube.find(kind, namespace=metadata["namespace"], selector=selector)


def roles_of_jobs(kube: Kubectl, job: Manifest) -> list[str]:
    """Return what the Jobs that belong to the job are for, sorted."""
    return sorted(child["metadata"]["labels"][LABEL_ROLE] for child in children(kube, "jobs", job))


def published_commits(hub: RunningHub, repository: str) -> list[str]:
    """Return the titles of the commits that a run made, newest first."""
    commits = hub.commits(repository)["commits"]
    return [commit["title"] for commit in commits if commit["title"].startswith("Finetune")]


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
    signal_rank(kube, job, rank_pod(kube, job, rank), "SIGKILL")


def signal_rank(kube: Kubectl, job: Manifest, pod: str, name: str) -> None:
    """Send a signal to the training process in a pod of the job. A gang stands still while one of it is stopped."""
    said = kube.run("exec", "-n", job["metadata"]["namespace"], pod, "--", "python3", "-c", SIGNAL_RANK, name)
    assert said.startswith("told"), "no training process was found in the pod"


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


def events_with(kube: Kubectl, job: Manifest, reason: str) -> list[str]:
    """Return the reasons of the Events of a job as the API server keeps it, oldest first, once `reason` is among them.

    The operator posts them after it has written the status that they tell of.
    """
    found: list[str] = []

    def is_told() -> bool:
        found[:] = _events(kube, job)
        return reason in found

    wait_until(is_told, seconds=600, what=f"an Event with the reason {reason}")
    return found


def _events(kube: Kubectl, job: Manifest) -> list[str]:
    metadata = job["metadata"]
    found = kube.find("events.events.k8s.io", namespace=metadata["namespace"])
    own = [entry for entry in found if entry.get("regarding", {}).get("uid") == metadata["uid"]]
    return [entry["reason"] for entry in sorted(own, key=lambda entry: str(entry["eventTime"]))]


def wait_until_freed(kube: Kubectl, pods: list[Manifest]) -> None:
    """Return once pods that have to go are gone; fails if any of them may hold its accelerators for too long.

    How long they take here says how busy this machine is. What holds on any is that a kubelet ends what is left after
    the grace period.
    """
    seconds = {pod["metadata"]["name"]: pod["spec"]["terminationGracePeriodSeconds"] for pod in pods}
    assert {name: given for name, given in seconds.items() if given >= FREED_SECONDS} == {}
    for pod in pods:
        where = f"pod/{pod['metadata']['name']}", "-n", pod["metadata"]["namespace"]
        kube.run("wait", "--for=delete", *where, "--timeout=10m")
