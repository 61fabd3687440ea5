"""Command line of the test cluster: `python -m tests.cluster up`."""

import argparse
import json
import sys
import time
from collections.abc import Callable

from tests.cluster import cluster


def main() -> None:
    """Run one command; prints what a script may read on standard output."""
    arguments = _parser().parse_args()
    match arguments.command:
        case "up":
            _timed("cluster is up", cluster.up)
        case "down":
            _timed("cluster is down", cluster.down)
        case "stop-node":
            cluster.stop_node(arguments.node)
        case "start-node":
            cluster.start_node(arguments.node)
        case "status":
            print(json.dumps(cluster.status(), indent=2))
        case "images":
            print(json.dumps(cluster.image_references()))
        case "env":
            for name, value in cluster.environment().items():
                print(f"export {name}={value}")


def _timed(what: str, act: Callable[[], None]) -> None:
    started_at = time.monotonic()
    act()
    print(f"{what} ({time.monotonic() - started_at:.1f} s)", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the cluster, or mend and reuse the one that runs")
    commands.add_parser("down", help="stop it; binaries and images stay cached")
    commands.add_parser("status", help="print what runs, as JSON")
    commands.add_parser("images", help="build, push and pull the project's images; print their names as JSON")
    commands.add_parser("env", help="print shell lines that point kubectl and helm at it: eval $(... env)")
    for name, action in (("stop-node", "end a node as a power cut would"), ("start-node", "start a stopped node")):
        commands.add_parser(name, help=action).add_argument("node")
    return parser


if __name__ == "__main__":
    main()
