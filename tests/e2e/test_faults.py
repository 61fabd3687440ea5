"""What may go wrong while a job runs, and how it ends all the same: invariants D, W, P, C and G."""

from collections.abc import Callable

import pytest

from tests.e2e.conftest import LONG_JOB_STEPS, NAMESPACE, long_job, repository
from tests.e2e.gang import OPERATOR, children, events_with, kill_rank, published_commits, wait_until_freed
from tests.e2e.logs import read_logs
from tests.e2e.states import has_checkpoint, in_phase, steps_trained, trains
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.install import SYSTEM_NAMESPACE, Stack
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = pytest.mark.e2e
Submit = Callable[[Manifest], Manifest]


def test_a_killed_rank_restarts_the_gang_from_its_checkpoint_and_its_log_stays_where_the_status_says(
    kube: Kubectl, stack: Stack, hub: RunningHub, submit: Submit
) -> None:
    job = submit(long_job("killed-rank"))
    before = jobs.wait_until(kube, job, has_checkpoint, seconds=1800)["status"]["checkpoint"]["step"]
    lost = children(kube, "pods", job, "train")

    kill_rank(kube, job, 1)
    restarting = jobs.wait_until(kube, job, in_phase("Restarting"), seconds=1800)
    resumed = jobs.wait_until(kube, job, trains(attempt=2), seconds=1800)
    wait_until_freed(kube, lost)
    log, logs = read_logs(kube, restarting, image=stack.target.images["trainer"])
    finished = jobs.wait_until_finished(kube, job, seconds=1800)

    restarts = finished["status"]["restarts"]
    assert (finished["status"]["attempt"], restarts["userErrors"], restarts["infrastructure"]) == (2, 0, 1)
    assert resumed["status"]["progress"]["step"] >= before
    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    assert finished["status"]["progress"]["step"] == LONG_JOB_STEPS
    assert len(published_commits(hub, repository("killed-rank"))) == 1
    assert "RankKilled" in events_with(kube, finished, "RankKilled")
    assert log == "logs/attempt-1/rank-1.log"
    assert '"reason": "RankKilled"' in logs[log]
    assert '"event": "checkpoint"' in logs["logs/attempt-1/rank-0.log"]
    assert "Validated" in logs["logs/prepare.log"]


@pytest.mark.alone
@pytest.mark.longer
def test_a_job_that_is_deleted_while_no_operator_runs_frees_its_accelerators_all_the_same(
    kube: Kubectl, submit: Submit
) -> None:
    job = submit(long_job("deleted-unseen"))
    jobs.wait_until(kube, job, has_checkpoint, seconds=1800)
    pods = children(kube, "pods", job)

    kube.run("scale", "deployment/finetune-operator", "-n", SYSTEM_NAMESPACE, "--replicas=0")
    try:
        kube.run("wait", "--for=delete", "pod", "-l", OPERATOR, "-n", SYSTEM_NAMESPACE, "--timeout=10m")
        kube.delete(jobs.KIND, "deleted-unseen", namespace=NAMESPACE)
        wait_until_freed(kube, pods)
    finally:
        kube.run("scale", "deployment/finetune-operator", "-n", SYSTEM_NAMESPACE, "--replicas=1")
        kube.run("rollout", "status", "deployment/finetune-operator", "-n", SYSTEM_NAMESPACE, "--timeout=10m")

    assert [children(kube, kind, job) for kind in ("jobs", "pods")] == [[], []]


@pytest.mark.alone
def test_a_lost_node_moves_the_gang_to_the_others(
    kube: Kubectl, hub: RunningHub, submit: Submit, target: Target
) -> None:
    if not target.is_ours:
        pytest.skip("nodes can be stopped on the project's own cluster only")
    from tests.cluster import cluster

    job = submit(long_job("lost-node"))
    before = jobs.wait_until(kube, job, has_checkpoint, seconds=1800)["status"]["checkpoint"]["step"]
    hub_pod = kube.find("pods", namespace="finetune-hub", selector="app.kubernetes.io/name=hub")[0]
    (lost,) = {"node-1", "node-2"} - {hub_pod["spec"]["nodeName"]}

    cluster.stop_node(lost)
    try:
        states = jobs.states_until(kube, job, jobs.is_finished, seconds=1800)
    finally:
        cluster.start_node(lost)

    finished = states[-1]
    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    assert finished["status"]["restarts"]["infrastructure"] == 1
    assert min(steps_trained(states, attempt=2)) >= before
    assert len(published_commits(hub, repository("lost-node"))) == 1
