"""What is gone before the watches begin: nobody tells of it, so a full list must, and soon."""

import pytest

from finetune_api.status import Phase
from finetune_operator.shell.kinds import JOB, POD, WATCHED
from tests.operator.world import Operator, World


@pytest.fixture
def world() -> World:
    """A world whose first gang has just been lost, unseen by any operator."""
    world = World(script=("killed", "ok"))
    operator = Operator(world)
    while not any(job.get("status") and "-train-" in job["metadata"]["name"] for job in world.all(JOB)):
        operator.look()
        world.control_jobs()
        world.run_pods()
        for kind in WATCHED:
            operator.resync(kind)
    return world


def remove_what_is_deleted(world: World) -> None:
    while any("-train-" in found["metadata"]["name"] for found in (*world.all(JOB), *world.all(POD))):
        world.control_jobs()
        world.run_pods()


def test_a_gang_that_is_gone_before_the_watches_begin_is_followed_by_the_next_after_a_full_list(world: World) -> None:
    operator = Operator(world)
    for _ in range(2):  # gives the gang up, then removes it
        operator.look()
    remove_what_is_deleted(world)
    for kind in WATCHED:
        operator.miss(kind)

    operator.look()
    waiting = (world.status.phase, [name for name in world.made if "-train-2" in name])
    for kind in WATCHED:
        operator.resync(kind)
    operator.look()

    assert waiting == (Phase.RESTARTING, [])
    assert [name.partition("/")[0] for name in world.made if "-train-2" in name] == ["Job"]
