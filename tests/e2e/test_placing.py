"""What the cluster's own components decide about the pods of a gang: scheduler, quota, eviction, kernel."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import NAMESPACE, long_job, quick_job
from tests.e2e.gang import LABEL_JOB, LABEL_ROLE, children, events_with, names
from tests.e2e.states import has_checkpoint, steps_trained
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = pytest.mark.e2e
Submit = Callable[[Manifest], Manifest]
#: What these tests ration: no other test asks for it.
SLOT = "example.com/slot"


@pytest.fixture(autouse=True)
def own_cluster(target: Target) -> None:
    if not target.is_ours:
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")


@pytest.fixture
def offer_slots(kube: Kubectl) -> Iterator[Callable[[str, int], None]]:
    """Let a node offer so many slots; after the test no node offers any."""

    def offer(node: str, slots: int) -> None:
        patch = {"status": {"capacity": {SLOT: str(slots)}, "allocatable": {SLOT: str(slots)}}}
        kube.run("patch", "node", node, "--subresource=status", "-p", json.dumps(patch))

    yield offer
    for node in ("node-1", "node-2"):
        offer(node, 0)


def short_job(name: str, **changes: object) -> Manifest:
    """Return a job of a few steps, whose model goes nowhere."""
    few = {"training__maxSteps": 6, "evaluation__every": 6, "evaluation__baseline": False, "publish": None}
    return quick_job(name, **(few | changes))


def rationed_job(name: str) -> Manifest:
    return short_job(name, resources__accelerator={"name": SLOT, "perNode": 1})


def nodes_held(kube: Kubectl) -> dict[str, list[str]]:
    """Return the nodes of the living ranks of each job with slots that has any."""
    held: dict[str, list[str]] = {}
    for pod in kube.find("pods", namespace=NAMESPACE, selector=f"{LABEL_ROLE}=train"):
        is_rationed = SLOT in pod["spec"]["containers"][0]["resources"]["limits"]
        if is_rationed and "nodeName" in pod["spec"] and pod["status"]["phase"] not in ("Succeeded", "Failed"):
            held.setdefault(pod["metadata"]["labels"][LABEL_JOB], []).append(pod["spec"]["nodeName"])
    return held


def waits(words: str) -> Callable[[Manifest], bool]:
    return lambda job: words in jobs.condition(job, "Scheduled").get("message", "")


@pytest.fixture
def quota(kube: Kubectl) -> Iterator[Callable[[int], None]]:
    """Let all jobs together have so many slots; no limit after the test."""
    metadata = {"name": "slots", "namespace": NAMESPACE}

    def limit(slots: int) -> None:
        spec = {"hard": {f"requests.{SLOT}": str(slots)}}
        kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec})

    yield limit
    kube.delete("resourcequota", "slots", namespace=NAMESPACE)


@pytest.mark.alone
def test_two_gangs_that_a_quota_and_then_nodes_keep_waiting_take_no_half_of_what_is_free_and_run_one_after_the_other(
    kube: Kubectl, submit: Submit, offer_slots: Callable[[str, int], None], quota: Callable[[int], None]
) -> None:
    offer_slots("node-1", 1)
    quota(1)

    pair = [submit(rationed_job(name)) for name in ("gang-one", "gang-two")]
    refused = [jobs.wait_until(kube, job, waits("exceeded quota"), seconds=1800) for job in pair]
    quota(4)
    waiting = [jobs.wait_until(kube, job, waits("2 of 2 pods have no node yet"), seconds=1800) for job in pair]
    held_while_one_is_free = nodes_held(kube)
    offer_slots("node-2", 1)
    seen, ends = [], []
    for job in pair:
        for state in jobs.watch(kube, job, seconds=1800):
            seen.append(nodes_held(kube))
            if jobs.is_finished(state):
                ends.append(state["status"])
                break

    assert {jobs.condition(job, "Scheduled")["reason"] for job in refused} == {"PodsRefused"}
    assert held_while_one_is_free == {}
    assert {jobs.condition(job, "Scheduled")["reason"] for job in waiting} == {"Unschedulable"}
    assert max(len(held) for held in seen) == 1
    assert [(status["phase"], status["attempt"], status["restarts"]["total"]) for status in ends] == [
        ("Succeeded", 1, 0),
        ("Succeeded", 1, 0),
    ]


@pytest.mark.alone  # For a while one node takes no pods.
def test_a_gang_whose_node_is_drained_goes_on_elsewhere_is_charged_nothing_and_leaves_no_pod_group_behind(
    kube: Kubectl, submit: Submit
) -> None:
    job = submit(long_job("drained"))
    before = jobs.wait_until(kube, job, has_checkpoint, seconds=1800)["status"]["checkpoint"]["step"]
    (group,) = names(children(kube, "podgroups", job))

    selector = f"{LABEL_JOB}=drained,{LABEL_ROLE}=train"
    options = ["--force", "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=10m"]
    states = []
    try:
        kube.run("drain", "node-2", f"--pod-selector={selector}", *options)
        for state in jobs.watch(kube, job, seconds=1800):
            states.append(state)
            if steps_trained(states, attempt=2):
                break
    finally:
        kube.run("uncordon", "node-2")
    kube.run("wait", "--for=delete", f"podgroup/{group}", "-n", NAMESPACE, "--timeout=10m")

    restarts = states[-1]["status"]["restarts"]
    assert (restarts["userErrors"], restarts["infrastructure"], restarts["total"]) == (0, 0, 0)
    assert min(steps_trained(states, attempt=2)) >= before
    assert {pod["spec"]["nodeName"] for pod in children(kube, "pods", job, "train")} == {"node-1"}
    assert "Preempted" in events_with(kube, states[-1], "Preempted")
    assert len(children(kube, "podgroups", job)) == 1


@pytest.mark.alone
@pytest.mark.longer
def test_a_gang_that_lost_a_node_for_good_goes_on_with_the_other_from_its_checkpoint(
    kube: Kubectl, submit: Submit, offer_slots: Callable[[str, int], None]
) -> None:
    for node in ("node-1", "node-2"):
        offer_slots(node, 1)
    slots = {"resources__accelerator": {"name": SLOT, "perNode": 1}, "resources__minNodes": 1}
    job = submit(long_job("halved", **slots, schedule={"gangTimeoutSeconds": 60}))
    before = jobs.wait_until(kube, job, has_checkpoint, seconds=1800)["status"]["checkpoint"]["step"]

    offer_slots("node-2", 0)
    (lost,) = [pod for pod in children(kube, "pods", job, "train") if pod["spec"]["nodeName"] == "node-2"]
    kube.delete("pod", lost["metadata"]["name"], namespace=NAMESPACE)
    states = []
    for state in jobs.watch(kube, job, seconds=1800):
        states.append(state)
        if steps_trained(states, attempt=3) and state["status"].get("warnings"):
            break

    status = states[-1]["status"]
    assert min(steps_trained(states, attempt=3)) >= before
    assert (status["worldSize"], jobs.condition(states[-1], "Training")["message"]) == (
        1,
        "attempt 3 trains on 1 of 2 nodes",
    )
    assert any("The next one, of 1 node," in jobs.condition(one, "Scheduled").get("message", "") for one in states)
    assert ["1 processes instead of 2" in warning for warning in status["warnings"]] == [True], status["warnings"]


def test_a_rank_over_its_memory_limit_is_said_to_have_run_out_of_memory(kube: Kubectl, submit: Submit) -> None:
    requests = {"cpu": "500m", "memory": "300Mi"}

    job = submit(short_job("greedy", resources__requests=requests, retry={"userErrors": 0}))
    failed = jobs.wait_until_finished(kube, job, seconds=1800)

    told = jobs.condition(failed, "Succeeded")
    assert (failed["status"]["phase"], told["reason"]) == ("Failed", "OutOfMemory"), told
    assert "memory limit" in told["message"]
