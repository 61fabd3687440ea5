"""Brings up all nodes and proves that each runs pods; one that does not gets an empty image store, once."""

from collections.abc import Iterable
from pathlib import Path

from tests.cluster import canary, diagnosis, node
from tests.cluster.node import NODES, Node, NodeError
from tests.cluster.progress import say


def up(binaries: Path) -> None:
    """Have every node run, be Ready and prove it by a pod.

    Raises:
        SystemExit: a node does not, even with an image store of its own making; says what is known of the cluster.
    """
    problems = _try(NODES, binaries)
    if not problems:
        return
    say("\n".join([*problems.values(), diagnosis.of_own_cluster()]))
    for worker in problems:
        # What a machine's hard end left half written there is found by nothing else.
        say(f"{worker.name}: is started again with an empty image store")
        node.stop(worker)
        node.delete_images(worker)
    problems = _try(problems, binaries)
    if problems:
        raise SystemExit("\n".join([*problems.values(), diagnosis.of_own_cluster()]))


def _try(workers: Iterable[Node], binaries: Path) -> dict[Node, str]:
    """Return what is wrong with those that could not be brought up."""
    problems: dict[Node, str] = {}
    for act in (node.start, node.wait_until_ready, canary.run):
        for worker in workers:
            if worker not in problems:
                try:
                    act(worker, binaries)
                except NodeError as error:
                    problems[worker] = str(error)
    return problems
