"""What the control plane alone takes for the same work: the Jobs and writes of the operator, made without it."""

import asyncio
import time

from benchmarks.operator.api import MERGE, Object
from benchmarks.operator.families import jobs_of
from benchmarks.operator.player import Player
from benchmarks.operator.scenarios import LIMIT_SECONDS, named
from finetune_api.contract import Role
from finetune_api.status import Phase
from finetune_api.types import FinetuneJob
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB

NUM_CHANGES = 500
WRITERS = 16


async def lives(player: Player, num: int) -> float:
    """Make the Jobs of so many lives, one step of all after another; return the seconds, without the training."""
    player.is_trained.set()
    began = time.monotonic()
    manifests = named(player.namespace, num, name="by-hand")
    made = [FinetuneJob.model_validate(job) for job in await player.create(manifests)]
    families = [dict(jobs_of(job, is_finished=True)) for job in made]
    for role in (Role.PREPARE, Role.TRAIN, Role.PUBLISH):
        await _create_jobs(player, families, role)
        await player.wait_for(f"{role} ended", num, seconds=LIMIT_SECONDS)
    return time.monotonic() - began


async def _create_jobs(player: Player, families: list[dict[Role, Object]], role: Role) -> None:
    async with asyncio.TaskGroup() as group:
        for family in families:
            group.create_task(player.api.send("POST", JOB.path(player.namespace), family[role]))


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
