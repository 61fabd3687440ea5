"""What the operator does and costs at size: `python -m benchmarks.operator`.

A control plane of its own is started on this machine; its pods are played. Takes half an hour or more. Exits with 1 if
a goal is not reached.
"""

import argparse
import asyncio
import signal
import sys

from benchmarks.operator import by_hand, scenarios
from benchmarks.operator.api import connected
from benchmarks.operator.control_plane import ADMINISTRATOR, ControlPlane, running
from benchmarks.operator.figure import Figure, report
from benchmarks.operator.player import Player
from benchmarks.operator.process import Operator

#: With the more jobs, the chart's default limit: the goal of 400 MB is beyond what a pod of it may have.
FEW_LIMIT_MB, LIMIT_MB = 200, 256
NAMESPACE = "played"
SCENARIOS = ("lives", "burst", "changes", "memory")


async def measure_by_hand(plane: ControlPlane, arguments: argparse.Namespace) -> dict[str, float]:
    """Return what no operator can be faster than here, for what is held against it."""
    found = {}
    async with connected(plane.kubeconfig(ADMINISTRATOR)) as api:
        await scenarios.make_namespace(api, NAMESPACE)
        player = Player(api, NAMESPACE)
        async with player.playing():
            if "burst" in arguments.scenarios:
                found["burst"], found["prepare"] = await by_hand.lives(player, arguments.jobs)
            if "changes" in arguments.scenarios:
                found["changes"] = await by_hand.changes(player)
    return found


async def measure_work(
    plane: ControlPlane, arguments: argparse.Namespace, alone: dict[str, float], figures: list[Figure]
) -> None:
    """Add the figures of jobs that live, as far as they were asked for, each when they are there."""
    operator = Operator(plane, arguments.python)
    try:
        async with connected(plane.kubeconfig(ADMINISTRATOR)) as api:
            await scenarios.make_namespace(api, NAMESPACE)
            player = Player(api, NAMESPACE)
            async with player.playing():
                operator.start()
                if "lives" in arguments.scenarios:
                    figures += await scenarios.lives(operator, player)
                if "burst" in arguments.scenarios:
                    figures += await scenarios.burst(operator, player, arguments.jobs, alone)
                if "changes" in arguments.scenarios:
                    figures += await scenarios.changes(player, alone["changes"])
    finally:
        operator.kill()


async def measure_memory(plane: ControlPlane, arguments: argparse.Namespace, figures: list[Figure]) -> None:
    """Add the figures of jobs that are there."""
    operator = Operator(plane, arguments.python)
    try:
        async with connected(plane.kubeconfig(ADMINISTRATOR)) as api:
            await scenarios.make_namespace(api, NAMESPACE)
            await scenarios.make_living(api, NAMESPACE)
            stages = ((0, arguments.jobs, FEW_LIMIT_MB), (arguments.jobs, arguments.finished, LIMIT_MB))
            for begin, end, limit in stages:
                await scenarios.make_finished(api, NAMESPACE, range(begin, end))
                figures += await scenarios.memory(operator, num=end, limit=limit)
    finally:
        operator.kill()


def _scenario(name: str) -> str:
    """Return the name if it is one; argparse takes an empty list for none of its `choices`."""
    if name not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SCENARIOS)}")
    return name


def main() -> None:
    """Run the scenarios and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator", description=__doc__)
    parser.add_argument("scenarios", nargs="*", type=_scenario, help=f"{', '.join(SCENARIOS)}; all, if none is named")
    parser.add_argument("--jobs", type=int, default=1000, help="of a burst, and that have ended")
    parser.add_argument("--finished", type=int, default=5000, help="that have ended, at the most")
    parser.add_argument("--python", default=sys.executable, help="of the checkout whose operator is measured")
    arguments = parser.parse_args()
    arguments.scenarios = arguments.scenarios or SCENARIOS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends with it
    figures: list[Figure] = []
    try:
        if {*arguments.scenarios} - {"memory"}:
            with running() as plane:
                alone = asyncio.run(measure_by_hand(plane, arguments))
            with running() as plane:
                asyncio.run(measure_work(plane, arguments, alone, figures))
        if "memory" in arguments.scenarios:
            with running() as plane:
                asyncio.run(measure_memory(plane, arguments, figures))
    finally:
        report("operator", figures)  # what was measured before anything went wrong is worth something, too
    sys.exit(not all(figure.is_reached for figure in figures))


if __name__ == "__main__":
    main()
