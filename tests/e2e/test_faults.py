"""What may go wrong while a job runs, and how it ends all the same: invariants D, W, P, C and G."""

from collections.abc import Callable

import pytest

from tests.e2e.conftest import LONG_JOB_STEPS, NAMESPACE, long_job, quick_job, repository
from tests.e2e.gang import OPERATOR, children, events_with, kill_operator, kill_rank, names, wait_until_freed
from tests.e2e.logs import read_logs
from tests.e2e.states import has_checkpoint, in_phase, seconds_held, steps_trained, trains
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.install import SYSTEM_NAMESPACE, Stack
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = pytest.mark.e2e
Submit = Callable[[Manifest], Manifest]


def roles_of_jobs(kube: Kubectl, job: Manifest) -> list[str]:
    """Return what the Jobs that belong to the job are for, sorted."""
    return sorted(child["metadata"]["labels"]["finetune.dev/role"] for child in children(kube, "jobs", job))


def published_commits(hub: RunningHub, repository: str) -> list[str]:
    """Return the titles of the commits that a run made, newest first."""
    commits = hub.commits(repository)["commits"]
    return [commit["title"] for commit in commits if commit["title"].startswith("Finetune")]


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


@pytest.mark.usefixtures("own_operator")
def test_an_operator_killed_in_every_phase_changes_nothing(kube: Kubectl, hub: RunningHub, submit: Submit) -> None:
    job = submit(quick_job("killed-operator"))

    for phase in ("Preparing", "Queued", "Training", "Publishing"):
        jobs.wait_until(kube, job, in_phase(phase), seconds=1800)
        kill_operator(kube)
    finished = jobs.wait_until_finished(kube, job, seconds=1800)

    status = finished["status"]
    assert status["phase"] == "Succeeded", status
    assert (status["attempt"], status["restarts"]["total"]) == (1, 0)
    assert roles_of_jobs(kube, job) == ["prepare", "publish", "train"]
    for kind in ("services", "configmaps", "persistentvolumeclaims"):
        assert len(children(kube, kind, job)) == 1, kind
    assert len(published_commits(hub, repository("killed-operator"))) == 1


@pytest.mark.usefixtures("own_operator")
def test_an_operator_killed_while_the_gang_restarts_without_rank_0_starts_one_new_attempt_that_resumes(
    kube: Kubectl, hub: RunningHub, submit: Submit
) -> None:
    job = submit(long_job("killed-restarting"))
    before = jobs.wait_until(kube, job, has_checkpoint, seconds=1800)["status"]["checkpoint"]["step"]

    kill_rank(kube, job, 0)  # it writes the checkpoints, tells the progress and is where the others meet
    jobs.wait_until(kube, job, in_phase("Restarting"), seconds=1800)
    kill_operator(kube)
    states = jobs.states_until_finished(kube, job, seconds=1800)

    status = states[-1]["status"]
    assert status["phase"] == "Succeeded", status
    assert (status["attempt"], status["restarts"]["infrastructure"], status["restarts"]["total"]) == (2, 1, 1)
    assert min(steps_trained(states, attempt=2)) >= before
    assert status["progress"]["step"] == LONG_JOB_STEPS
    assert len(children(kube, "services", job)) == 1
    assert len(published_commits(hub, repository("killed-restarting"))) == 1
    held = seconds_held(states)
    assert min(held["useful"], held["waiting"]) > 0, held  # how much was lost depends on when rank 0 was last asked


def test_a_deleted_job_frees_its_accelerators_with_less_than_60_seconds_of_grace(kube: Kubectl, submit: Submit) -> None:
    job = submit(long_job("deleted"))
    jobs.wait_until(kube, job, has_checkpoint, seconds=1800)

    pods = children(kube, "pods", job)

    kube.delete(jobs.KIND, "deleted", namespace=NAMESPACE)
    wait_until_freed(kube, pods)

    assert len(children(kube, "persistentvolumeclaims", job)) == 1, "work does not die with the job"
    for kind in ("jobs", "services", "configmaps"):
        for name in names(children(kube, kind, job)):
            kube.run("wait", "--for=delete", f"{kind}/{name}", "-n", NAMESPACE, "--timeout=10m")
        assert children(kube, kind, job) == []


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


def test_a_job_that_fails_while_it_trains_says_so_once_and_frees_its_accelerators_with_less_than_60_seconds_of_grace(
    kube: Kubectl, submit: Submit
) -> None:
    job = submit(long_job("deadline"))
    jobs.wait_until(kube, job, has_checkpoint, seconds=1800)

    pods = children(kube, "pods", job, "train")
    kube.apply(jobs.change(job, activeDeadlineSeconds=1))
    failed = jobs.wait_until_finished(kube, job, seconds=1800)
    wait_until_freed(kube, pods)

    found = {kind: jobs.condition(failed, kind) for kind in ("Succeeded", "Finished", "Stalled", "Training")}
    assert {(entry["status"], entry["reason"]) for entry in found.values()} == {
        ("True", "DeadlineExceeded"),
        ("False", "DeadlineExceeded"),
    }
    assert "activeDeadlineSeconds" in found["Succeeded"]["message"]
    assert events_with(kube, failed, "DeadlineExceeded").count("DeadlineExceeded") == 1


def test_a_suspended_job_frees_its_pods_and_resumes_where_it_was(kube: Kubectl, submit: Submit) -> None:
    job = submit(long_job("suspended"))
    jobs.wait_until(kube, job, has_checkpoint, seconds=1800)

    pods = children(kube, "pods", job, "train")
    kube.apply(jobs.change(job, suspend=True))
    suspended = jobs.wait_until(kube, job, in_phase("Suspended"), seconds=1800)
    wait_until_freed(kube, pods)
    kube.apply(jobs.change(job, suspend=False))
    goes_on = jobs.wait_until(kube, job, trains(attempt=2), seconds=1800)

    assert goes_on["status"]["restarts"]["total"] == 0
    assert goes_on["status"]["progress"]["step"] >= suspended["status"]["checkpoint"]["step"]


def test_a_commit_whose_answer_was_lost_is_found_and_not_made_again(
    kube: Kubectl, faulty_hub: RunningHub, submit: Submit
) -> None:
    faulty_hub.fail("lose-answer", method="POST", path=f"/api/models/{repository('lost-answer')}/commit/")

    job = submit(quick_job("lost-answer"))
    finished = jobs.wait_until_finished(kube, job, seconds=1800)

    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    assert len(published_commits(faulty_hub, repository("lost-answer"))) == 1
    newest = faulty_hub.commits(repository("lost-answer"))["commits"][0]
    assert finished["status"]["published"]["commit"] == newest["oid"]


def test_a_job_whose_publishing_was_refused_publishes_its_model_when_it_is_run_again_without_training_anew(
    kube: Kubectl, faulty_hub: RunningHub, submit: Submit
) -> None:
    refusal = {"status": 403, "headers": {}}
    faulty_hub.fail(refusal, method="POST", path=f"/api/models/{repository('again')}/commit/", times=None)
    job = submit(quick_job("again"))
    failed = jobs.wait_until_finished(kube, job, seconds=1800)

    faulty_hub.clear()
    kube.apply(jobs.change(job, rerun="the token may write now"))
    jobs.wait_until(kube, job, in_phase("Preparing"), seconds=1800)
    states = jobs.states_until_finished(kube, job, seconds=1800)

    assert (failed["status"]["phase"], jobs.condition(failed, "Published")["reason"]) == ("Failed", "WriteForbidden")
    status = states[-1]["status"]
    assert (status["phase"], status["rerun"]) == ("Succeeded", "the token may write now"), status
    assert {state["status"]["phase"] for state in states} <= {"Preparing", "Publishing", "Succeeded"}
    assert roles_of_jobs(kube, job) == ["prepare", "publish"]
    assert len(published_commits(faulty_hub, repository("again"))) == 1
    assert status["evaluations"] == failed["status"]["evaluations"]


@pytest.mark.alone
def test_a_hub_without_optional_calls_gets_the_model_and_the_status_gets_a_warning(
    kube: Kubectl, faulty_hub: RunningHub, submit: Submit
) -> None:
    faulty_hub.features(whoami=False, settings=False)

    job = submit(quick_job("plain-hub"))
    finished = jobs.wait_until_finished(kube, job, seconds=1800)

    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    assert any("whoami" in warning for warning in finished["status"]["warnings"])
    assert len(published_commits(faulty_hub, repository("plain-hub"))) == 1


def test_a_job_that_is_made_again_finds_its_model_on_the_hub_and_trains_nothing(
    kube: Kubectl, hub: RunningHub, submit: Submit
) -> None:
    first = jobs.wait_until_finished(kube, submit(quick_job("made-again")), seconds=1800)
    kube.delete(jobs.KIND, "made-again", namespace=NAMESPACE)
    volume = f"persistentvolumeclaim/{first['status']['storage']['claim']}"
    kube.run("wait", "--for=delete", volume, "-n", NAMESPACE, "--timeout=10m")  # what is published goes with its job

    again = jobs.wait_until_finished(kube, submit(quick_job("made-again")), seconds=1800)

    before, after = first["status"], again["status"]
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    assert (before["run"], before["published"]) == (after["run"], after["published"])
    assert before["evaluations"] == after["evaluations"]
    assert jobs.condition(again, "Succeeded")["reason"] == "AlreadyPublished"
    owners = [one["metadata"]["ownerReferences"][0]["uid"] for one in children(kube, "jobs", again, "train")]
    assert again["metadata"]["uid"] not in owners
    assert len(published_commits(hub, repository("made-again"))) == 1


def test_a_gate_that_is_not_met_publishes_nothing_and_says_so(kube: Kubectl, hub: RunningHub, submit: Submit) -> None:
    job = submit(quick_job("gate", publish__gate={"minImprovement": 0.99}, publish__always=False))

    finished = jobs.wait_until_finished(kube, job, seconds=1800)

    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    published = jobs.condition(finished, "Published")
    assert (published["status"], published["reason"]) == ("False", "GateNotMet")
    assert events_with(kube, finished, "GateNotMet")[-1] == "GateNotMet"
    assert published_commits(hub, repository("gate")) == []


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
        states = jobs.states_until_finished(kube, job, seconds=1800)
    finally:
        cluster.start_node(lost)

    finished = states[-1]
    assert finished["status"]["phase"] == "Succeeded", finished["status"]
    assert finished["status"]["restarts"]["infrastructure"] == 1
    assert min(steps_trained(states, attempt=2)) >= before
    assert len(published_commits(hub, repository("lost-node"))) == 1
