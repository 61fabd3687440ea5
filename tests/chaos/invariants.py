"""What must hold of each job when all is over: D, W, P, C, G, U and S, each checked against the evidence alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.evidence import Evidence
from tests.e2e.states import miscounted, steps_trained
from tests.stack import jobs
from tests.stack.kubectl import Manifest

#: By then no pod of an ended job may hold an accelerator any more.
FREE_SECONDS = 60.0
#: Of one commit that is a whole model of the examples' kind.
ESSENTIAL = ("README.md", "config.json", "finetunejob.json", "model.safetensors", "modules.json")
#: Made anew at each try to publish, and no part of what was trained.
OF_PUBLISH = ("README.md", "finetunejob.json")


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Something that must hold and did not."""

    job: str
    invariant: str
    expected: str
    seen: str


def check(evidence: Evidence) -> list[Violation]:
    """Return what does not hold of one job."""
    checks = (_single, _work, _published, _told, _free, _counted, _secret)
    return [
        Violation(job=evidence.name, invariant=invariant, expected=expected, seen=seen)
        for one in checks
        for invariant, expected, seen in one(evidence)
    ]


Finding = tuple[str, str, str]


def _single(evidence: Evidence) -> Iterator[Finding]:
    """D: one gang at a time, one of each other child."""
    if evidence.gangs_at_once > 1:
        yield "D", "one gang at a time", f"{evidence.gangs_at_once} at once"
    for kind, number in evidence.num_children.items():
        # Of a Service that is deleted when its ranks have ended no second one is made: nobody looks for them any more.
        if number > 1 or (number == 0 and kind != "services"):
            yield "D", f"one of its {kind}", str(number)


def _work(evidence: Evidence) -> Iterator[Finding]:
    """W: no attempt begins before the newest checkpoint, nor more than one interval before the last step."""
    spec = evidence.job["spec"]
    interval, planned = spec["checkpoint"]["everySteps"], spec["training"]["maxSteps"]
    states = [state for state in evidence.states if "attempt" in state.get("status", {})]
    saved = made = 0
    for attempt in sorted({state["status"]["attempt"] for state in states}):
        steps = steps_trained(states, attempt=attempt)
        if steps and min(steps) < max(saved, made - interval):
            expected = f"attempt {attempt} to begin at step {saved}, where a checkpoint is, and at most {interval} back"
            yield "W", expected, f"step {min(steps)}, after step {made}"
        own = [state["status"] for state in states if state["status"]["attempt"] == attempt]
        saved = max([saved, *((status.get("checkpoint") or {}).get("step", 0) for status in own)])
        made = max([made, *steps])
    told = (evidence.job.get("status", {}).get("progress") or {}).get("step")
    if _phase(evidence.job) == "Succeeded" and told != planned:
        yield "W", f"all {planned} steps", f"step {told} at the end"


def _published(evidence: Evidence) -> Iterator[Finding]:
    """P: one commit, whole, of the very model on the volume, tagged, and the one that the status tells of."""
    told = (evidence.job.get("status", {}).get("published") or {}).get("commit")
    own = [commit for commit in evidence.commits if commit["title"].startswith("Finetune")]
    if told is not None and told not in [commit["oid"] for commit in own]:
        yield "P", f"commit {told} on the Hub, of which the status tells", f"{[one['oid'] for one in own]}"
    for commit in own:
        if lacking := [name for name in ESSENTIAL if name not in commit["files"]]:
            yield "P", "each commit to be a whole model", f"{commit['oid']} lacks {', '.join(lacking)}"
    if _phase(evidence.job) != "Succeeded":
        return
    if len(own) != 1:
        yield "P", "one commit", f"{len(own)} commits"
        return
    (commit,) = own
    if evidence.branches.get("main") != commit["oid"]:
        yield "P", f"the branch main at {commit['oid']}", f"at {evidence.branches.get('main')}"
    if commit["oid"] not in evidence.tags.values():
        yield "P", f"a tag at {commit['oid']}", f"{dict(evidence.tags)}"
    there = {name: file["sha256"] for name, file in commit["files"].items() if name not in OF_PUBLISH}
    differing = sorted(name for name, digest in evidence.model.items() if there.get(name, digest) != digest)
    if differing or "model.safetensors" not in evidence.model:
        yield "P", "the Hub to have the model of the volume", f"other contents: {', '.join(differing) or 'no model'}"


def _told(evidence: Evidence) -> Iterator[Finding]:
    """C: a job that nothing but accidents befell succeeds, says so once, with a reason and words, and stays so."""
    end, summary = jobs.condition(evidence.job, "Finished"), jobs.condition(evidence.job, "Succeeded")
    if _phase(evidence.job) != "Succeeded" or summary.get("status") != "True" or end.get("status") != "True":
        seen = f"{_phase(evidence.job)} ({summary.get('reason')}: {summary.get('message')})"
        yield "C", "the job to succeed", seen
    if end.get("status") == "True":
        if not (end.get("reason") and end.get("message")):
            yield "C", "a reason and a message of its end", f"{end}"
        if (number := [*evidence.events].count(str(end.get("reason")))) != 1:
            yield "C", f"one Event of its end ({end.get('reason')})", f"{number} in {', '.join(evidence.events)}"
    ends = [jobs.is_finished(state) for state in evidence.states]
    if True in ends and not all(ends[ends.index(True) :]):
        later = next(state for state in evidence.states[ends.index(True) :] if not jobs.is_finished(state))
        yield "C", "a job that has ended to stay so", f"{_phase(later)} afterwards"


def _free(evidence: Evidence) -> Iterator[Finding]:
    """G: accelerators are free a minute after the end."""
    if evidence.seconds_after_end > FREE_SECONDS:
        yield "G", f"no rank {FREE_SECONDS:.0f} s after its end", f"one after {evidence.seconds_after_end:.0f} s"


def _counted(evidence: Evidence) -> Iterator[Finding]:
    """U: each second that its gangs held is counted once."""
    for seen in miscounted(evidence.states):
        yield "U", "counters that never fall, and kinds that add up", seen


def _secret(evidence: Evidence) -> Iterator[Finding]:
    """S: no token where somebody could read it."""
    for where in evidence.leaks:
        yield "S", "no token in statuses, Events, logs and files", f"one in {where}"


def _phase(job: Manifest) -> str | None:
    phase = job.get("status", {}).get("phase")
    return None if phase is None else str(phase)
