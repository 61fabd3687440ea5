"""`python -m tests.chaos --jobs 20 --minutes 60 --seed 7`: exits with 1 and names each job that something befell."""

import argparse
import random
import sys
import time

from tests.chaos.harm import Harm
from tests.chaos.invariants import check
from tests.chaos.record import Recorder
from tests.e2e.conftest import long_job
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.inputs import push_inputs, reach_hub
from tests.stack.install import Stack, install
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import find_target

NAMESPACE = "finetune-chaos"
#: Between two blows.
LEAST_SECONDS, MOST_SECONDS = 5, 25
#: After the last blow, for each job: each may have lost a gang just then.
SECONDS_TO_END = 240
#: A budget that no chance uses up: what is asked is whether jobs survive, not when they give up.
RETRY = {"infrastructure": 100, "userErrors": 0}


def main() -> None:
    """Run it."""
    arguments = _parser().parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"chaos: {arguments.jobs} jobs for {arguments.minutes} minutes, seed {seed}", flush=True)
    target = find_target()
    if not target.is_ours:
        sys.exit("KUBECONFIG: names a cluster of somebody's, but nodes are harmed here; unset it")
    stack = install(target)
    problems = _play(stack, num_jobs=arguments.jobs, seconds=arguments.minutes * 60, chance=random.Random(seed))
    print("\n".join(problems) or "everything that must hold held", flush=True)
    print(f"seed {seed}: {len(problems)} problems", flush=True)
    sys.exit(1 if problems else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, help="of an earlier run: the same blows in the same order")
    return parser


def _play(stack: Stack, *, num_jobs: int, seconds: float, chance: random.Random) -> list[str]:
    kube = stack.target.kubectl
    kube.run("delete", "namespace", NAMESPACE, "--ignore-not-found")
    stack.namespace(NAMESPACE)
    push_inputs(kube, "all")
    submitted = [_job(f"chaos-{number}") for number in range(num_jobs)]
    with reach_hub(kube) as endpoint, Recorder(kube, NAMESPACE) as recorder:
        hub = RunningHub(endpoint)
        hub.clear()
        kube.apply(*submitted)
        harm = Harm(kube=kube, hub=hub, namespace=NAMESPACE, chance=chance)
        _beat(kube, harm, chance=chance, until=time.monotonic() + seconds)
        harm.mend()
        _wait_for_ends(kube, seconds=SECONDS_TO_END * num_jobs)
        recorder.settle()
        return check(kube, hub, recorder)


def _job(name: str) -> Manifest:
    manifest = long_job(name, retry=RETRY, publish__repository=f"demo/{name}")
    return manifest | {"metadata": manifest["metadata"] | {"namespace": NAMESPACE}}


def _beat(kube: Kubectl, harm: Harm, *, chance: random.Random, until: float) -> None:
    while time.monotonic() < until and not _all_ended(kube):
        print(f"{time.strftime('%H:%M:%S')} {harm.strike()}", flush=True)
        time.sleep(chance.uniform(LEAST_SECONDS, MOST_SECONDS))


def _all_ended(kube: Kubectl) -> bool:
    return all(map(jobs.is_finished, kube.find(jobs.KIND, namespace=NAMESPACE)))


def _wait_for_ends(kube: Kubectl, *, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not _all_ended(kube) and time.monotonic() < until:
        time.sleep(5)


if __name__ == "__main__":
    main()
