"""FinetuneJobs in a queue of a real Kueue: held back, admitted, preempted, left behind."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import long_job, quick_job
from tests.e2e.gang import children, kill_rank, names
from tests.e2e.queue import NAMESPACE, QUEUE, QUEUELESS, URGENT, WORKLOAD, running_kueue, urgent_job, workload_of
from tests.e2e.states import goes_on_after, has_checkpoint, in_phase
from tests.stack import jobs
from tests.stack.install import Stack
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.usefixtures("kueue")]
FINALIZER = "example.com/holds-it"
ROUNDS = 3
#: In Kueue's own words.
PREEMPTED = "Preempted to accommodate a workload"
FULL = "insufficient unused quota for nvidia.com/gpu"


@pytest.fixture(scope="module")
def kueue(stack: Stack, target: Target) -> Iterator[None]:
    if not target.is_ours:
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")
    with running_kueue(stack):
        yield


@pytest.fixture(scope="module")
def endless(kueue: None, kube: Kubectl) -> Manifest:
    """A job in the queue that trains for longer than the tests take, and holds all of its accelerators."""
    job = in_queue(long_job("endless", training__maxSteps=20_000, training__numTrainEpochs=1000))
    kube.apply(job)
    return job


def in_queue(job: Manifest, **changes: object) -> Manifest:
    here = job | {"metadata": job["metadata"] | {"namespace": NAMESPACE}}
    return jobs.change(here, **({"schedule__queueName": QUEUE} | changes))


def is_held(*words: str) -> Callable[[Manifest], bool]:
    """Return whether a queue holds a job back, and says so in one of these ways."""

    def holds(job: Manifest) -> bool:
        scheduled = jobs.condition(job, "Scheduled")
        return bool(scheduled.get("reason") == "Queued" and any(one in scheduled["message"] for one in words))

    return holds


def test_a_job_without_a_queue_where_every_job_must_have_one_says_that_it_is_held_back(kube: Kubectl) -> None:
    job = quick_job("unnamed") | {"metadata": {"name": "unnamed", "namespace": QUEUELESS}}
    kube.apply(job)

    jobs.wait_until(kube, job, in_phase("Queued"), seconds=1800)
    states = []
    for state in jobs.watch(kube, job, seconds=1800):
        states.append(state)
        if "LocalQueue" in jobs.condition(state, "Succeeded")["message"]:
            break

    (prepare,) = children(kube, "jobs", job, "prepare")
    assert prepare["spec"]["suspend"] is True
    words = "the queue has not admitted the prepare Job yet"
    assert {state["status"]["phase"] for state in states} == {"Queued"}
    assert {jobs.condition(state, "Succeeded")["message"].partition(":")[0] for state in states} == {words}
    assert "spec.schedule.queueName" in jobs.condition(states[-1], "Succeeded")["message"]


@pytest.mark.longer
def test_a_job_that_is_preempted_again_and_again_waits_goes_on_in_the_same_job_and_is_charged_nothing(
    kube: Kubectl, endless: Manifest
) -> None:
    before = jobs.wait_until(kube, endless, has_checkpoint, seconds=1800)["status"]
    gang = names(children(kube, "jobs", endless, "train"))
    steps = []

    for number in range(ROUNDS):
        steps.append(jobs.wait_until(kube, endless, has_checkpoint, seconds=1800)["status"]["checkpoint"]["step"])
        urgent = urgent_job(f"urgent-{number}")
        kube.apply(urgent)
        jobs.wait_until(kube, endless, in_phase("Queued"), seconds=1800)
        kube.delete("job", f"urgent-{number}", namespace=NAMESPACE)  # the ranks are on their way out when it goes on
    jobs.wait_until(kube, endless, has_checkpoint, seconds=1800)
    urgent = in_queue(quick_job("urgent"), schedule__queuePriorityClassName=URGENT)
    kube.apply(urgent)
    jobs.wait_until(kube, endless, is_held(PREEMPTED, FULL), seconds=1800)
    done = jobs.wait_until_finished(kube, urgent, seconds=1800)["status"]
    after = jobs.wait_until(kube, endless, goes_on_after(steps[-1]), seconds=1800)["status"]

    assert (done["phase"], done["attempt"]) == ("Succeeded", 1), done
    assert names(children(kube, "jobs", endless, "train")) == gang
    assert (after["attempt"], after["restarts"]) == (before["attempt"], before["restarts"])
    assert steps == sorted(steps)


def test_a_gang_whose_workload_and_job_somebody_holds_on_to_is_replaced_once_the_queue_has_room(
    kube: Kubectl, endless: Manifest
) -> None:
    before = jobs.wait_until(kube, endless, has_checkpoint, seconds=1800)["status"]
    (gang,) = names(children(kube, "jobs", endless, "train"))
    held = workload_of(kube, gang)
    add = f'[{{"op": "add", "path": "/metadata/finalizers/-", "value": "{FINALIZER}"}}]'
    kube.run("patch", WORKLOAD, held, "-n", NAMESPACE, "--type=json", "-p", add)
    kube.run("patch", "job", gang, "-n", NAMESPACE, "-p", f'{{"metadata": {{"finalizers": ["{FINALIZER}"]}}}}')

    kill_rank(kube, endless, 1)
    jobs.wait_until(kube, endless, is_held(FULL), seconds=1800)
    let_go(kube, WORKLOAD, held)
    after = jobs.wait_until(kube, endless, has_checkpoint, seconds=1800)["status"]
    is_kept = any(FINALIZER in one["metadata"].get("finalizers", []) for one in children(kube, "jobs", endless))
    let_go(kube, "job", gang)

    assert is_kept
    assert after["attempt"] == before["attempt"] + 1
    assert (after["restarts"]["infrastructure"], after["restarts"]["userErrors"]) == (1, 0)


def let_go(kube: Kubectl, kind: str, name: str) -> None:
    kube.run("patch", kind, name, "-n", NAMESPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
