"""One model on its way to the Hub: kept back by its gate, refused, published though the answer is lost, found again."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import NAMESPACE, quick_job, repository
from tests.e2e.gang import children, events_with, published_commits, roles_of_jobs
from tests.e2e.states import in_phase
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.inputs import reach_hub
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.e2e
NAME = "publishing"
COMMIT = f"/api/models/{repository(NAME)}/commit/"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of one job, and of its like that was made when it was gone."""

    gated: Manifest
    events_of_gated: list[str]
    commits_of_gated: list[str]
    refused: Manifest
    states: list[Manifest]
    """Of the run after that."""
    roles: list[str]
    """Of its Jobs at the end."""
    newest: str
    """Commit of the repository."""
    again: Manifest
    owners: list[str]
    """Of the Jobs that train at the end."""
    commits: list[str]

    @property
    def published(self) -> Manifest:
        return self.states[-1]


@pytest.fixture(scope="module")
def seen(kube: Kubectl) -> Iterator[Seen]:
    with reach_hub(kube) as endpoint:
        hub = RunningHub(endpoint)
        try:
            yield _live(kube, hub)
        finally:
            hub.clear()
            kube.delete(jobs.KIND, NAME, namespace=NAMESPACE)
            kube.run("delete", "persistentvolumeclaims", "-n", NAMESPACE, "-l", f"finetune.dev/job={NAME}")


def _live(kube: Kubectl, hub: RunningHub) -> Seen:
    job = quick_job(NAME)
    gate = {"publish__gate": {"minImprovement": 0.99}, "publish__always": False}
    kube.apply(jobs.change(job, **gate))
    gated = jobs.wait_until_finished(kube, job, seconds=1800)
    events, commits_of_gated = events_with(kube, gated, "GateNotMet"), published_commits(hub, repository(NAME))

    hub.fail({"status": 403, "headers": {}}, method="POST", path=COMMIT, times=None)
    _run_again(kube, jobs.change(job, rerun="without a gate"))
    refused = jobs.wait_until_finished(kube, job, seconds=1800)

    hub.clear()
    hub.fail("lose-answer", method="POST", path=COMMIT)
    _run_again(kube, jobs.change(job, rerun="the token may write now"))
    states = jobs.states_until(kube, job, jobs.is_finished, seconds=1800)
    roles = roles_of_jobs(kube, job)
    newest = str(hub.commits(repository(NAME))["commits"][0]["oid"])

    kube.delete(jobs.KIND, NAME, namespace=NAMESPACE)
    volume = f"persistentvolumeclaim/{states[-1]['status']['storage']['claim']}"
    kube.run("wait", "--for=delete", volume, "-n", NAMESPACE, "--timeout=10m")  # what is published goes with its job
    kube.apply(job)
    again = jobs.wait_until_finished(kube, job, seconds=1800)
    trains = children(kube, "jobs", again, "train")

    return Seen(
        gated=gated,
        events_of_gated=events,
        commits_of_gated=commits_of_gated,
        refused=refused,
        states=states,
        roles=roles,
        newest=newest,
        again=again,
        owners=[one["metadata"]["ownerReferences"][0]["uid"] for one in trains],
        commits=published_commits(hub, repository(NAME)),
    )


def _run_again(kube: Kubectl, job: Manifest) -> None:
    """Apply a job with another `rerun`; return once it has begun."""
    kube.apply(job)
    jobs.wait_until(kube, job, in_phase("Preparing"), seconds=1800)


def test_a_gate_that_is_not_met_publishes_nothing_and_says_so(seen: Seen) -> None:
    assert seen.gated["status"]["phase"] == "Succeeded", seen.gated["status"]
    published = jobs.condition(seen.gated, "Published")
    assert (published["status"], published["reason"]) == ("False", "GateNotMet")
    assert seen.events_of_gated[-1] == "GateNotMet"
    assert seen.commits_of_gated == []


def test_a_job_whose_publishing_was_refused_publishes_its_model_when_it_is_run_again_without_training_anew(
    seen: Seen,
) -> None:
    refused, status = seen.refused, seen.published["status"]

    assert (refused["status"]["phase"], jobs.condition(refused, "Published")["reason"]) == ("Failed", "WriteForbidden")
    assert (status["phase"], status["rerun"]) == ("Succeeded", "the token may write now"), status
    assert {state["status"]["phase"] for state in seen.states} <= {"Preparing", "Publishing", "Succeeded"}
    assert seen.roles == ["prepare", "publish"]
    assert status["evaluations"] == refused["status"]["evaluations"] == seen.gated["status"]["evaluations"]


def test_a_commit_whose_answer_was_lost_is_found_and_not_made_again(seen: Seen) -> None:
    assert len(seen.commits) == 1
    assert seen.published["status"]["published"]["commit"] == seen.newest


def test_a_job_that_is_made_again_finds_its_model_on_the_hub_and_trains_nothing(seen: Seen) -> None:
    before, after = seen.published["status"], seen.again["status"]

    assert seen.again["metadata"]["uid"] != seen.published["metadata"]["uid"]
    assert (before["run"], before["published"]) == (after["run"], after["published"])
    assert before["evaluations"] == after["evaluations"]
    assert jobs.condition(seen.again, "Succeeded")["reason"] == "AlreadyPublished"
    assert seen.again["metadata"]["uid"] not in seen.owners
    assert len(seen.commits) == 1
