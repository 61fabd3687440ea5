"""An operator that is killed again and again, beside a pod of a stranger with labels of ours."""

import re
from collections.abc import Callable, Iterator
from urllib.request import urlopen

import pytest

from finetune_api import keys
from tests.cluster.api import wait_until
from tests.e2e.conftest import LONG_JOB_STEPS, long_job, repository
from tests.e2e.gang import children, kill_operator, kill_rank, published_commits, roles_of_jobs
from tests.e2e.states import has_checkpoint, in_phase, seconds_held, steps_trained, trains
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.install import SYSTEM_NAMESPACE
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.e2e
NAMESPACE = "default"
NAME = "borrowed-labels"
LABELS = {keys.LABEL_JOB: "a", keys.LABEL_ROLE: "train", keys.LABEL_COMPLETION_INDEX: "abc"}


@pytest.fixture
def stranger(kube: Kubectl) -> Iterator[None]:
    """A Pod as anybody may make one, of which no node ever hears."""
    container = {"name": "main", "image": "none.example/none:0"}
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
            "spec": {"schedulerName": "nobody", "containers": [container]},
        }
    )
    yield
    kube.delete("pod", NAME, namespace=NAMESPACE)


def count_ignored(kube: Kubectl) -> float:
    """Return how many Pods the operator says that it cannot read."""
    with (
        kube.port_forward("deploy/finetune-operator", 8080, namespace=SYSTEM_NAMESPACE) as address,
        urlopen(f"{address}/metrics", timeout=10) as answer,
    ):
        found = re.search(
            r'^finetune_operator_ignored_objects\{reason="unreadable",resource="pods"\} (\S+)',
            answer.read().decode(),
            flags=re.MULTILINE,
        )
    return float(found[1]) if found else 0.0


@pytest.mark.usefixtures("own_operator", "stranger")
def test_an_operator_killed_in_every_phase_beside_a_pod_with_borrowed_labels_changes_nothing(
    kube: Kubectl, hub: RunningHub, submit: Callable[[Manifest], Manifest]
) -> None:
    wait_until(lambda: count_ignored(kube) == 1.0, seconds=1800, what="the pod is told of while the operator runs")
    job = submit(long_job("killed-operator"))

    for phase in ("Preparing", "Queued"):
        jobs.wait_until(kube, job, in_phase(phase), seconds=1800)
        kill_operator(kube)
    begun = jobs.wait_until(kube, job, has_checkpoint, seconds=1800)["status"]
    kill_rank(kube, job, 0)  # it writes the checkpoints, tells the progress and is where the others meet
    jobs.wait_until(kube, job, in_phase("Restarting"), seconds=1800)
    kill_operator(kube)
    states = []
    for reached in (trains(attempt=2), in_phase("Publishing")):
        states += jobs.states_until(kube, job, reached, seconds=1800)
        kill_operator(kube)
    states += jobs.states_until(kube, job, jobs.is_finished, seconds=1800)
    wait_until(lambda: count_ignored(kube) == 1.0, seconds=1800, what="it is told of by an operator that starts")

    assert (begun["attempt"], begun["restarts"]["total"]) == (1, 0)
    status = states[-1]["status"]
    assert status["phase"] == "Succeeded", status
    assert (status["attempt"], status["restarts"]["infrastructure"], status["restarts"]["total"]) == (2, 1, 1)
    assert min(steps_trained(states, attempt=2)) >= begun["checkpoint"]["step"]
    assert status["progress"]["step"] == LONG_JOB_STEPS
    assert roles_of_jobs(kube, job) == ["prepare", "publish", "train"]
    for kind in ("services", "configmaps", "persistentvolumeclaims"):
        assert len(children(kube, kind, job)) == 1, kind
    assert len(published_commits(hub, repository("killed-operator"))) == 1
    held = seconds_held(states)
    assert min(held["useful"], held["waiting"]) > 0, held  # how much was lost depends on when rank 0 was last asked
    assert kube.get("pod", NAME, namespace=NAMESPACE) is not None
