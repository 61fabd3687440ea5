"""Work that must not be lost: to `kubectl delete all`, to the TTL, to another job in the same folder, to silence."""

import json
from collections.abc import Callable, Iterator

import pytest

from finetune_api import keys
from tests.cluster import network
from tests.e2e.conftest import NAMESPACE, long_job, quick_job
from tests.e2e.gang import children, events_with, names, rank_pod, signal_rank, wait_until_freed
from tests.e2e.states import goes_on_after, has_checkpoint, in_phase, trains
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = pytest.mark.e2e
Submit = Callable[[Manifest], Manifest]

CLAIM = "shared"
#: Prints every file below the claim, and what the owner's files say.
LIST = """
import json, pathlib
root = pathlib.Path("/claim")
files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
owners = [path for path in files if path.name == "owner.json"]
names = {str(path.parent): json.loads((root / path).read_text())["name"] for path in owners}
print(json.dumps({"files": [str(path) for path in files], "owners": names}))
"""


def build_reader(claim: str, *, image: str) -> Manifest:
    """Return a pod that prints what is on a claim."""
    container = {
        "name": "reader",
        "image": image,
        "command": ["python", "-c", LIST],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "claim", "mountPath": "/claim", "readOnly": True}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader", "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }


def read_claim(kube: Kubectl, target: Target, claim: str) -> tuple[list[str], dict[str, str]]:
    """Return the files on a claim, and the job's name by each folder that has an owner."""
    kube.apply(build_reader(claim, image=target.images["trainer"]))
    kube.run("wait", "pod/reader", "-n", NAMESPACE, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=10m")
    found = json.loads(kube.run("logs", "reader", "-n", NAMESPACE))
    kube.delete("pod", "reader", namespace=NAMESPACE)
    return found["files"], found["owners"]


@pytest.fixture
def shared_claim(kube: Kubectl) -> Iterator[None]:
    """A claim of the user's own, for several jobs."""
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": NAMESPACE},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "2Gi"}}},
        }
    )
    yield
    kube.delete("persistentvolumeclaim", CLAIM, namespace=NAMESPACE, wait=False)


@pytest.mark.alone  # `delete all` takes the pods of every job of the namespace.
def test_neither_delete_all_nor_the_ttl_removes_the_only_copy_of_a_model(
    kube: Kubectl, target: Target, submit: Submit
) -> None:
    job = submit(long_job("delete-all", publish=None))
    jobs.wait_until(kube, job, lambda seen: bool(seen.get("status", {}).get("checkpoint")), seconds=1800)

    kube.run("delete", "all", "--all", "-n", NAMESPACE)
    finished = jobs.wait_until_finished(kube, job, seconds=1800)
    kube.run("delete", "all", "--all", "-n", NAMESPACE)
    ttl = json.dumps({"spec": {"ttlSecondsAfterFinished": 1}})
    kube.run("patch", jobs.KIND, "delete-all", "-n", NAMESPACE, "--type", "merge", "-p", ttl)
    cleaned = jobs.wait_until(kube, job, lambda seen: "cleanupTime" in seen["status"], seconds=1800)

    status = cleaned["status"]
    assert finished["status"]["phase"] == status["phase"] == "Succeeded", status
    assert status["attempt"] == 2
    for kind in ("jobs", "pods", "services", "configmaps"):
        assert children(kube, kind, job) == [], kind
    files, owners = read_claim(kube, target, status["storage"]["claim"])
    assert "train/model/model.safetensors" in files
    assert owners == {".": "delete-all"}


def test_a_deleted_job_frees_its_accelerators_and_leaves_its_checkpoints_from_which_a_new_one_goes_on_to_its_deadline(
    kube: Kubectl, submit: Submit
) -> None:
    job = submit(long_job("pruned", publish=None))
    seen = jobs.wait_until(kube, job, has_checkpoint, seconds=1800)
    claim, step = seen["status"]["storage"]["claim"], seen["status"]["checkpoint"]["step"]
    pods = children(kube, "pods", job)

    kube.delete(jobs.KIND, "pruned", namespace=NAMESPACE)
    wait_until_freed(kube, pods)
    left = children(kube, "persistentvolumeclaims", job)
    for kind in ("jobs", "services", "configmaps"):
        for name in names(children(kube, kind, job)):
            kube.run("wait", "--for=delete", f"{kind}/{name}", "-n", NAMESPACE, "--timeout=10m")
        assert children(kube, kind, job) == []

    kept = {"existingClaim": claim, "subPath": "."}
    again = submit(long_job("goes-on", publish=None, storage=kept))
    goes_on = jobs.wait_until(kube, again, trains(attempt=1), seconds=1800)
    pods = children(kube, "pods", again, "train")
    kube.apply(jobs.change(again, activeDeadlineSeconds=1))
    failed = jobs.wait_until_finished(kube, again, seconds=1800)
    wait_until_freed(kube, pods)

    assert [one["metadata"]["name"] for one in left] == [claim], "work does not die with the job"
    assert left[0]["metadata"].get("ownerReferences") is None
    assert goes_on["status"]["storage"] == {"claim": claim, "folder": ""}
    assert goes_on["status"]["progress"]["step"] >= step
    found = {kind: jobs.condition(failed, kind) for kind in ("Succeeded", "Finished", "Stalled", "Training")}
    assert {(entry["status"], entry["reason"]) for entry in found.values()} == {
        ("True", "DeadlineExceeded"),
        ("False", "DeadlineExceeded"),
    }
    assert "activeDeadlineSeconds" in found["Succeeded"]["message"]
    assert events_with(kube, failed, "DeadlineExceeded").count("DeadlineExceeded") == 1


@pytest.mark.usefixtures("shared_claim")
def test_jobs_on_one_claim_take_nothing_from_each_other(kube: Kubectl, target: Target, submit: Submit) -> None:
    same = {"existingClaim": CLAIM, "subPath": "team/pages"}
    first = submit(quick_job("first", publish=None, storage=same))
    jobs.wait_until(kube, first, in_phase("Preparing"), seconds=1800)  # all of its work is still to come

    second = submit(quick_job("second", publish=None, storage=same, training__maxSteps=20))
    aside = submit(quick_job("aside", publish=None, storage={"existingClaim": CLAIM}))
    waiting = jobs.wait_until(
        kube, second, lambda seen: jobs.condition(seen, "Succeeded").get("reason") == "WorkspaceInUse", seconds=1800
    )
    beside = jobs.wait_until(
        kube, aside, lambda seen: jobs.condition(seen, "Validated").get("status") == "True", seconds=1800
    )
    kube.delete(jobs.KIND, "aside", namespace=NAMESPACE)
    ends = [jobs.wait_until_finished(kube, job, seconds=1800)["status"] for job in (first, second)]

    message = jobs.condition(waiting, "Succeeded")["message"]
    assert message.startswith(
        f"folder team/pages of volume claim {CLAIM} is used by FinetuneJob first; this job begins"
    )
    assert [(end["phase"], end["attempt"]) for end in ends] == [("Succeeded", 1), ("Succeeded", 1)]
    files, owners = read_claim(kube, target, CLAIM)
    folder = beside["status"]["storage"]["folder"]
    (earlier,) = [place for place, name in owners.items() if name == "first"]
    assert owners == {"team/pages": "second", earlier: "first", folder: "aside"}
    assert folder.startswith(f".finetune/{NAMESPACE}/aside-")
    assert earlier.startswith("team/pages/earlier/")
    for place in ("team/pages", earlier):
        assert f"{place}/train/model/model.safetensors" in files
    assert [file for file in files if file.startswith(f"{earlier}/train/checkpoints/")]


def is_known(value: str) -> Callable[[Manifest], bool]:
    return lambda seen: jobs.condition(seen, "ProgressKnown").get("status") == value


@pytest.mark.longer
def test_an_operator_that_is_kept_from_rank_0_says_so_and_leaves_the_training_alone(
    kube: Kubectl, target: Target, submit: Submit
) -> None:
    """What it sends is dropped on the way, for longer than a gang may stand still."""
    if not target.is_ours:
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")
    endless = {"training__maxSteps": 20_000, "training__numTrainEpochs": 1000}
    job = submit(long_job("cut-off", publish=None, stallTimeoutSeconds=30, **endless))
    before = jobs.wait_until(kube, job, has_checkpoint, seconds=1800)["status"]["progress"]["step"]

    network.cut_port(keys.TELEMETRY_PORT)
    try:
        silent = jobs.wait_until(kube, job, is_known("False"), seconds=1800)
    finally:
        network.heal_port()
    jobs.wait_until(kube, job, is_known("True"), seconds=1800)
    after = jobs.wait_until(kube, job, goes_on_after(before), seconds=1800)["status"]

    known = jobs.condition(silent, "ProgressKnown")
    assert (silent["status"]["phase"], known["reason"]) == ("Training", "NoAnswer")
    assert known["message"].startswith("rank 0 gives no answer: nothing came within 3 s")
    assert (after["attempt"], after["restarts"]["total"]) == (1, 0), after


def test_a_rank_0_that_answers_nobody_is_told_and_left_alone(kube: Kubectl, submit: Submit) -> None:
    """Its process is stopped for twice as long as a gang may stand still, as a pause of its machine does."""
    job = submit(long_job("silent", publish=None, resources__nodes=1, stallTimeoutSeconds=30))
    jobs.wait_until(kube, job, lambda seen: bool(seen.get("status", {}).get("checkpoint")), seconds=1800)
    pod = rank_pod(kube, job, 0)

    signal_rank(kube, job, pod, "SIGSTOP")
    silent = jobs.wait_until(kube, job, is_known("False"), seconds=1800)
    signal_rank(kube, job, pod, "SIGCONT")
    jobs.wait_until(kube, job, is_known("True"), seconds=1800)
    finished = jobs.wait_until_finished(kube, job, seconds=1800)

    known = jobs.condition(silent, "ProgressKnown")
    assert (silent["status"]["phase"], known["reason"]) == ("Training", "NoAnswer")
    assert known["message"].startswith("rank 0 gives no answer: nothing came within 3 s")
    status = finished["status"]
    assert (status["phase"], status["attempt"], status["restarts"]["total"]) == ("Succeeded", 1, 0), status
    assert jobs.condition(finished, "ProgressKnown") == {}
