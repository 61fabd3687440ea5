"""What the operator does and costs at size: `python -m benchmarks.operator`.

A control plane of its own is started on this machine; its pods are played. Takes a quarter of an hour.
"""

import argparse
import asyncio
import signal
import sys

from benchmarks.figures import report
from benchmarks.operator import scenarios
from benchmarks.operator.api import connected
from benchmarks.operator.control_plane import ADMINISTRATOR, ControlPlane, running
from benchmarks.operator.player import Player
from benchmarks.operator.process import Operator

SCENARIOS = ("lives", "burst", "changes", "memory")


async def measure(plane: ControlPlane, arguments: argparse.Namespace, rows: list[scenarios.Row]) -> None:
    """Add the rows of all scenarios that were asked for, each when its figures are there."""
    operator = Operator(plane, arguments.python)
    try:
        async with connected(plane.kubeconfig(ADMINISTRATOR)) as api:
            for namespace in ("played", "still"):
                await scenarios.make_namespace(api, namespace)
            player = Player(api, "played")
            async with player.playing():
                operator.start()
                if "lives" in arguments.scenarios:
                    rows += await scenarios.lives(operator, player)
                if "burst" in arguments.scenarios:
                    rows += await scenarios.burst(operator, player, arguments.jobs)
                if "changes" in arguments.scenarios:
                    rows += await scenarios.changes(player)
            if "memory" in arguments.scenarios:
                few, many = arguments.jobs, arguments.finished - arguments.jobs
                await scenarios.make_living(api, "still")
                rows += await scenarios.memory(operator, api, "still", finished=few, goal="under 200")
                rows += await scenarios.memory(operator, api, "still", finished=many, goal="under 256, the limit")
    finally:
        operator.kill()


def main() -> None:
    """Run the scenarios and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator", description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=SCENARIOS, default=SCENARIOS, help="all, if none is named")
    parser.add_argument("--jobs", type=int, default=1000, help="of a burst, and that have ended")
    parser.add_argument("--finished", type=int, default=5000, help="that have ended, at the most")
    parser.add_argument("--python", default=sys.executable, help="of the checkout whose operator is measured")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends with it
    rows: list[scenarios.Row] = []
    try:
        with running() as plane:
            asyncio.run(measure(plane, arguments, rows))
    finally:
        report("operator", rows)  # what was measured before anything went wrong is worth something, too


if __name__ == "__main__":
    main()
