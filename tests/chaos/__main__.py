"""Many small jobs on the test cluster and, at random, all that may happen to them; afterwards what must always hold.

Exits with 1 and names each job of which something did not hold.
"""

import argparse
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import machine, report
from tests.chaos.blows import Blows
from tests.chaos.evidence import Evidence, gather
from tests.chaos.harm import Harm, choose
from tests.chaos.invariants import FREE_SECONDS, check
from tests.chaos.record import Recorder, wait_until
from tests.chaos.report import Screen, how_it_goes
from tests.cluster import cluster
from tests.e2e.conftest import quick_job
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.inputs import push_inputs
from tests.stack.install import HUB_NAMESPACE, ROOT, Stack, install
from tests.stack.kubectl import Kubectl, KubectlError, Manifest
from tests.stack.target import find_target

NAMESPACE = "finetune-chaos"
#: Jobs come one after another in the first part of the time, so that harm meets them in different places.
SHARE_OF_COMING = 0.4
#: Once no harm is done any more, for each job: each may have lost a gang just then.
MINUTES_TO_END = 4
#: Two cores have to do for all of them: some minutes of training for each, be it in pieces.
CHANGES = {
    "training__maxSteps": 100,
    "checkpoint__everySteps": 10,
    "evaluation__every": 50,
    # A gang that hangs is to be seen to in this hour.
    "stallTimeoutSeconds": 240,
    # A budget that no chance uses up; of errors that are a user's not one is made.
    "retry": {"infrastructure": 100, "userErrors": 0},
}


def main() -> None:
    """Run it."""
    arguments = _parser().parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    target = find_target()
    if not target.is_ours:
        sys.exit("KUBECONFIG: names a cluster of somebody's, but nodes are harmed here; unset it")
    folder = ROOT / "build" / "chaos" / time.strftime(f"%Y%m%d-%H%M%S-seed-{seed}")
    folder.mkdir(parents=True)
    screen = Screen(log=folder / "harm.log")
    screen.say(f"{arguments.jobs} jobs, {arguments.minutes:g} minutes of harm, seed {seed}; all is kept in {folder}")
    kube = target.kubectl
    _make_ready(install(target))
    hub = _reach_hub(kube)
    blows = choose(Blows(kube=kube, hub=hub, namespace=NAMESPACE).by_name(), arguments.only)
    harm = Harm(blows=blows, seed=seed, clock=time.monotonic, say=screen.say)
    with Recorder(kube, NAMESPACE, folder) as recorder:
        play = Play(kube=kube, recorder=recorder, harm=harm, screen=screen, num_jobs=arguments.jobs)
        try:
            play.harm_jobs(seconds=arguments.minutes * 60)
        finally:
            play.mend(hub)
        play.wait_for_ends(seconds=60 * (arguments.patience or MINUTES_TO_END * arguments.jobs))
        recorder.check()
        found = gather(kube, hub, recorder)
    sys.exit(1 if _conclude(found, play, folder) else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument(
        "--patience", type=float, help=f"minutes for the ends afterwards; {MINUTES_TO_END} for each job"
    )
    parser.add_argument("--only", default="", help="blows by their names, with commas in between; all of them if empty")
    parser.add_argument("--seed", type=int, help="of an earlier run: the same blows in the same order")
    return parser


def _make_ready(stack: Stack) -> None:
    kube = stack.target.kubectl
    kube.run("delete", "namespace", NAMESPACE, "--ignore-not-found")
    stack.namespace(NAMESPACE)
    push_inputs(kube, "pages")


def _reach_hub(kube: Kubectl) -> RunningHub:
    """Return the Hub by its Service's address, which this machine reaches whatever becomes of the API server."""
    service = kube.get("service", "hub", namespace=HUB_NAMESPACE) or {}
    hub = RunningHub(f"http://{service['spec']['clusterIP']}")
    hub.clear()
    return hub


def _job(number: int) -> Manifest:
    """Return a job unlike the others, so that no model is taken for another's."""
    nodes = 2 - number % 2
    manifest = quick_job(f"chaos-{number:02}", **CHANGES, training__seed=number, resources__nodes=nodes)
    return manifest | {"metadata": manifest["metadata"] | {"namespace": NAMESPACE}}


@dataclass(frozen=True, kw_only=True)
class Play:
    """Jobs that come, harm that is done to them, and their ends."""

    kube: Kubectl
    recorder: Recorder
    harm: Harm
    screen: Screen
    num_jobs: int

    def harm_jobs(self, *, seconds: float) -> None:
        """Submit the jobs one after another and do harm, until all have ended or the time is over."""
        begin = time.monotonic()
        pause = seconds * SHARE_OF_COMING / self.num_jobs
        coming = [_job(number) for number in range(self.num_jobs)]

        def go_on() -> None:
            age = time.monotonic() - begin
            if coming and (self.num_jobs - len(coming)) * pause <= age and self._submit(coming[0]):
                coming.pop(0)
            self.harm.go_on()
            self._tend(seconds_left=seconds - age)

        wait_until(self._have_ended, seconds=seconds, meanwhile=go_on)

    def mend(self, hub: RunningHub) -> None:
        """Have everything whole again: what lasts is taken back, and what of the cluster does not run is started."""
        self.screen.say("no more harm is done")
        machine.start_control_plane()
        wait_until(lambda: not self.harm.lasting, seconds=60, meanwhile=self.harm.mend)
        cluster.up()
        hub.clear()

    def wait_for_ends(self, *, seconds: float) -> None:
        """Wait for the jobs that have not ended yet, and for what must be over a minute after the last end."""
        wait_until(self._have_ended, seconds=seconds, meanwhile=self._tend)
        self.screen.say(f"in {FREE_SECONDS:.0f} s what must be over by then is looked at")
        time.sleep(FREE_SECONDS + 5)

    def _submit(self, job: Manifest) -> bool:
        try:
            self.kube.apply(job)
        except KubectlError:
            return False  # the API server is away; a user tries again, too
        return True

    def _have_ended(self) -> bool:
        newest = self.recorder.newest().values()
        return len(newest) == self.num_jobs and all(map(jobs.is_finished, newest))

    def _tend(self, *, seconds_left: float = 0) -> None:
        machine.offer_gpus()
        newest = self.recorder.newest().values()
        self.screen.show(how_it_goes(newest, num_jobs=self.num_jobs, seconds_left=seconds_left))


def _conclude(found: list[Evidence], play: Play, folder: Path) -> bool:
    """Tell how it ended; True if something did not hold."""
    violations = [violation for one in found for violation in check(one)]
    unseen, harm = play.num_jobs - len(found), play.harm
    told = report.of_violations(violations, folder=folder) or "Everything that must hold held."
    parts = [
        report.of_harm(harm),
        report.of_jobs(found, violations),
        told + (f"\n{unseen} jobs were never seen" if unseen else ""),
        f"seed {harm.seed}, {len(found)} jobs, {harm.struck.total()} blows, {len(violations)} violations",
    ]
    text = "\n\n".join(parts)
    (folder / "result.txt").write_text(f"{text}\n")
    play.screen.end(f"\n{text}")
    return bool(violations or unseen)


if __name__ == "__main__":
    main()
