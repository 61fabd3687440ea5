"""What must hold of each job when all is over: D, W, P, C, G and S of the architecture, each as a list of problems."""

from collections.abc import Iterator

from tests.chaos.record import ENDED, Recorder
from tests.e2e.conftest import LONG_JOB_STEPS
from tests.e2e.gang import children, events, names
from tests.e2e.states import steps_trained
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.install import READ_TOKEN, WRITE_TOKEN
from tests.stack.kubectl import Kubectl, Manifest


def check(kube: Kubectl, hub: RunningHub, recorder: Recorder) -> list[str]:
    """Return what does not hold, each with the name of its job."""
    found = kube.find(jobs.KIND, namespace=recorder.namespace)
    return [
        f"{job['metadata']['name']}: {problem}"
        for job in found
        for problem in (
            *check_end(job),
            *check_steps(recorder.states[job["metadata"]["name"]]),
            *_single(kube, job, recorder),
            *_published(hub, job),
            *_told(kube, job),
            *_free(kube, job),
            *_secrets(kube, job),
        )
    ]


def check_end(job: Manifest) -> Iterator[str]:
    """A job that nothing but accidents befell succeeds, with all its steps, and says so."""
    status = job.get("status", {})
    end = jobs.condition(job, "Finished")
    if status.get("phase") != "Succeeded" or end.get("status") != "True":
        told = jobs.condition(job, "Succeeded")
        yield f"C: is {status.get('phase')} ({told.get('reason')}: {told.get('message')})"
    elif (status.get("progress") or {}).get("step") != LONG_JOB_STEPS:
        yield f"W: ended at {status.get('progress')}"


def check_steps(states: list[Manifest]) -> Iterator[str]:
    """No attempt begins before the newest checkpoint that an attempt before it had told of."""
    states = [state for state in states if "attempt" in state.get("status", {})]
    newest = 0
    for attempt in sorted({state["status"]["attempt"] for state in states}):
        steps = steps_trained(states, attempt=attempt)
        if steps and min(steps) < newest:
            yield f"W: attempt {attempt} was at step {min(steps)}, after a checkpoint of step {newest}"
        own = [state["status"] for state in states if state["status"]["attempt"] == attempt]
        newest = max([newest, *((status.get("checkpoint") or {}).get("step", 0) for status in own)])


def _single(kube: Kubectl, job: Manifest, recorder: Recorder) -> Iterator[str]:
    if recorder.gangs_at_once[job["metadata"]["name"]] > 1:
        yield "D: two gangs lived at once"
    for kind in ("services", "persistentvolumeclaims"):
        if (number := len(children(kube, kind, job))) != 1:
            yield f"D: has {number} {kind}"


def _published(hub: RunningHub, job: Manifest) -> Iterator[str]:
    commits = hub.commits(job["spec"]["publish"]["repository"])["commits"]
    own = [commit for commit in commits if commit["title"].startswith("Finetune")]
    if len(own) != 1:
        yield f"P: {len(own)} commits"
    elif (told := (job["status"].get("published") or {}).get("commit")) != own[0]["oid"]:
        yield f"P: the status tells of commit {told}, the Hub has {own[0]['oid']}"


def _told(kube: Kubectl, job: Manifest) -> Iterator[str]:
    reason = jobs.condition(job, "Finished").get("reason")
    if (number := events(kube, job).count(str(reason))) != 1:
        yield f"C: {number} Events tell of its end ({reason})"


def _free(kube: Kubectl, job: Manifest) -> Iterator[str]:
    living = [pod for pod in children(kube, "pods", job) if pod["status"]["phase"] not in ENDED]
    if living:
        yield f"G: a minute after its end {len(living)} pods live"


def _secrets(kube: Kubectl, job: Manifest) -> Iterator[str]:
    metadata = job["metadata"]
    texts = [str(job), str(kube.find("events", namespace=metadata["namespace"]))]
    texts += [
        kube.run("logs", pod, "-n", metadata["namespace"], "--all-containers")
        for pod in names(children(kube, "pods", job))
    ]
    if any(token in text for token in (READ_TOKEN, WRITE_TOKEN) for text in texts):
        yield "S: a token is in its status, its Events or its logs"
