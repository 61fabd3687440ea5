"""What the control plane alone takes for the same work: the Jobs and writes of the operator, made without it."""

import asyncio
import time

from benchmarks.operator.api import MERGE, Object
from benchmarks.operator.families import jobs_of
from benchmarks.operator.player import Player
from benchmarks.operator.scenarios import LIMIT_SECONDS, named, p99
from finetune_api.contract import Role
from finetune_api.status import Phase
from finetune_api.types import FinetuneJob
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB

NUM_CHANGES = 500
WRITERS = 16


async def lives(player: Player, num: int) -> tuple[float, float]:
    """Make the Jobs of so many lives, one step of all after another; return the seconds, without the training.

    The second figure is the p99 of the seconds from a FinetuneJob to its prepare Job, which is made straight after it.
    """
    player.is_trained.set()
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_begin(player, one)) for one in named(player.namespace, num, name="by-hand")]
    families = [task.result() for task in tasks]
    await player.wait_for(f"{Role.PREPARE} ended", num, seconds=LIMIT_SECONDS)
    for role in (Role.TRAIN, Role.PUBLISH):
        async with asyncio.TaskGroup() as group:
            for family in families:
                group.create_task(_create_job(player, family[role]))
        await player.wait_for(f"{role} ended", num, seconds=LIMIT_SECONDS)
    return time.monotonic() - began, p99(player.seconds("created", Role.PREPARE))


async def _begin(player: Player, manifest: Object) -> dict[Role, Object]:
    """Make a FinetuneJob and its prepare Job; return all its Jobs by role."""
    (made,) = await player.create([manifest])
    family = dict(jobs_of(FinetuneJob.model_validate(made), is_finished=True))
    await _create_job(player, family[Role.PREPARE])
    return family


async def _create_job(player: Player, manifest: Object) -> None:
    await player.api.send("POST", JOB.path(player.namespace), manifest)


async def changes(player: Player) -> float:
    """Change specs and write the statuses that tell of it; return how many a second.

    So many writers keep the API server busy, each with a job of its own.
    """
    numbers = iter(range(NUM_CHANGES))

    async def write(name: str) -> None:
        path = FINETUNE_JOB.path(player.namespace, name)
        for number in numbers:
            await player.api.send("PATCH", path, {"spec": {"ttlSecondsAfterFinished": 86400 + number}}, MERGE)
            status = {"phase": Phase.SUSPENDED, "observedGeneration": number}
            await player.api.send("PATCH", f"{path}/status", {"status": status}, MERGE)

    made = await player.create(named(player.namespace, WRITERS, name="changed-by-hand", suspend=True))
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for job in made:
            group.create_task(write(job["metadata"]["name"]))
    return NUM_CHANGES / (time.monotonic() - began)
