"""How old the progress in a FinetuneJob's status gets while it trains: `python -m benchmarks.progress_age`.

Runs examples/demo.yaml, without publishing, on a real cluster, and looks at the object twice a second while its phase
is Training. Times in status are whole seconds of rank 0's clock, so an age is up to a second too high, and only as good
as that clock agrees with this machine's.
"""

import statistics
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.figures import report
from tests.stack import jobs
from tests.stack.inputs import push_inputs
from tests.stack.install import install
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target, find_target

NAMESPACE = "finetune-benchmark"
LIMIT_SECONDS = 1200
POLL_SECONDS = 0.5


def main() -> None:
    """Run the benchmark and print its figures."""
    target = find_target()
    stack = install(target)
    push_inputs(target.kubectl, "pages")
    kube = target.kubectl
    kube.delete("namespace", NAMESPACE, namespace=NAMESPACE)
    stack.namespace(NAMESPACE)
    ages = measure_ages(kube, submit(target))
    kube.delete("namespace", NAMESPACE, namespace=NAMESPACE, wait=False)
    ordered = sorted(ages.since_first_word)
    report(
        "progress-age",
        [
            ("looks while training", len(ordered), "", ""),
            ("from phase Training to rank 0's first word", ages.until_first_word, "s", ""),
            ("age of the progress, median", statistics.median(ordered), "s", ""),
            ("age of the progress, p95", ordered[int(0.95 * (len(ordered) - 1))], "s", ""),
            ("age of the progress, max", ordered[-1], "s", "at most 15"),
        ],
    )


def submit(target: Target) -> Manifest:
    """Create the demo's job and return it; where there are no accelerators it trains on CPU."""
    job = jobs.load_example("demo", namespace=NAMESPACE, publish=None)
    if not target.has_accelerators:
        job = jobs.change(job, resources__accelerator__perNode=0)
    target.kubectl.apply(job)
    return job


@dataclass
class Ages:
    """Seconds; while Python and torch start there is no progress that could have an age."""

    until_first_word: float = 0.0
    since_first_word: list[float] = field(default_factory=list)

    def look(self, status: Manifest, now: datetime) -> None:
        """Note one status of phase Training."""
        spoken_at = (status.get("progress") or {}).get("lastUpdateTime")
        if spoken_at is None:
            self.until_first_word = (now - datetime.fromisoformat(status["phaseTimes"]["Training"])).total_seconds()
        else:
            self.since_first_word.append((now - datetime.fromisoformat(spoken_at)).total_seconds())


def measure_ages(kube: Kubectl, job: Manifest) -> Ages:
    """Return the ages of the job's progress at each look at it in phase Training.

    Raises:
        SystemExit: the job failed, or took too long.

    """
    ages = Ages()
    started = time.monotonic()
    while time.monotonic() - started < LIMIT_SECONDS:
        state = kube.get(jobs.KIND, job["metadata"]["name"], namespace=NAMESPACE) or {}
        now = datetime.now(UTC)
        status = state.get("status", {})
        if status.get("phase") == "Failed":
            raise SystemExit(f"the job failed: {jobs.condition(state, 'Succeeded').get('message')}")
        if status.get("phase") == "Succeeded":
            return ages
        if status.get("phase") == "Training":
            ages.look(status, now)
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"the job was not done after {LIMIT_SECONDS} s")


if __name__ == "__main__":
    main()
