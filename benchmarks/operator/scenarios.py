"""What is measured, one scenario after another; the figures that a scenario yields are rows of the report."""

import asyncio
import time
from datetime import UTC, datetime

from benchmarks.operator.api import MERGE, Api, Object
from benchmarks.operator.families import NODES, create_families
from benchmarks.operator.player import Player
from benchmarks.operator.process import WRITES, Operator
from finetune_api.status import Phase
from finetune_operator.shell.kinds import FINETUNE_JOB
from tests.stack import jobs

Row = tuple[str, float, str, str]
LIMIT_SECONDS = 900
SETTLE_SECONDS, WATCHED_SECONDS, QUIET_SECONDS = 60, 60, 60
CHANGES_PER_SECOND, NUM_CHANGED, CHANGING_SECONDS = 50, 200, 20
NUM_LIVING, NUM_LIVES = 200, 50


async def make_namespace(api: Api, name: str) -> None:
    """Have a namespace."""
    await api.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})


def template(namespace: str, **changes: object) -> Object:
    """Return the demo's job on two nodes, with a claim that is there."""
    storage = {"accessMode": "ReadWriteMany", "existingClaim": "shared"}
    return jobs.load_example("demo", namespace=namespace, resources__nodes=NODES, storage=storage, **changes)


def named(namespace: str, num: int, *, name: str, **changes: object) -> list[Object]:
    """Return so many jobs, each with a folder of its own."""
    made = []
    for index in range(num):
        job = jobs.named(template(namespace, **changes), f"{name}-{index:05d}")
        made.append(jobs.change(job, storage__subPath=job["metadata"]["name"]))
    return made


async def lives(operator: Operator, player: Player) -> list[Row]:
    """Lead a few jobs through their lives, and count what they cost."""
    before = operator.requests() - operator.progress_writes()
    player.is_trained.set()
    await player.create(named(player.namespace, NUM_LIVES, name="counted"))
    await player.wait_for(Phase.SUCCEEDED, NUM_LIVES, seconds=LIMIT_SECONDS)
    player.is_trained.clear()
    player.moments.clear()
    after = operator.requests() - operator.progress_writes()
    return [("API requests per life, besides progress", (after - before) / NUM_LIVES, "", "at most 12")]


async def burst(operator: Operator, player: Player, num: int) -> list[Row]:
    """Create so many jobs at once, and lead them to their end; in between all train at once, and the operator dies."""
    began = time.monotonic()
    await player.create(named(player.namespace, num, name="life"))
    await player.wait_for(Phase.TRAINING, num, seconds=LIMIT_SECONDS)
    seconds = time.monotonic() - began
    rows = await _while_all_train(operator, player)
    rows += await _killed(operator, player, num)
    released = time.monotonic()
    player.is_trained.set()
    await player.wait_for(Phase.SUCCEEDED, num, seconds=LIMIT_SECONDS)
    seconds += time.monotonic() - released
    waited = player.seconds("created", "prepare")
    return [
        ("create to prepare Job, median", waited[num // 2], "s", ""),
        ("create to prepare Job, p99", waited[int(0.99 * (num - 1))], "s", "under 20"),
        ("whole lives without the training", seconds, "s", "under 120"),
        *rows,
        *await _quiet_minute(operator, player),
    ]


async def _while_all_train(operator: Operator, player: Player) -> list[Row]:
    await asyncio.sleep(SETTLE_SECONDS)
    before, cpu = player.num_changes, operator.cpu_seconds()
    oldest = 0.0
    for _ in range(WATCHED_SECONDS):
        await asyncio.sleep(1)
        training = [status for status in player.statuses.values() if status.get("phase") == Phase.TRAINING]
        oldest = max(oldest, *map(_age, training))
    return [
        ("status writes a second while all train", (player.num_changes - before) / WATCHED_SECONDS, "", "at most 20"),
        ("oldest progress in a status while all train", oldest, "s", "at most 60"),
        ("CPU while all train", 100 * (operator.cpu_seconds() - cpu) / WATCHED_SECONDS, "%", ""),
        ("resident memory while all train", operator.memory()[1], "MB", ""),
    ]


def _age(status: Object) -> float:
    told_at = (status.get("progress") or {}).get("lastUpdateTime") or status["phaseTimes"]["Training"]
    return (datetime.now(UTC) - datetime.fromisoformat(told_at)).total_seconds()


async def _killed(operator: Operator, player: Player, num: int) -> list[Row]:
    """Kill it while all train, see when it takes up a job that was made meanwhile, then end it politely."""
    operator.kill()
    (job,) = named(player.namespace, 1, name="late")
    await player.create([job])
    began = time.monotonic()
    operator.start(wait=False)
    await player.wait_for("prepare", num + 1, seconds=LIMIT_SECONDS)
    back = time.monotonic() - began
    await player.wait_for(Phase.TRAINING, num + 1, seconds=LIMIT_SECONDS)
    stopped = await asyncio.to_thread(operator.stop)
    await asyncio.to_thread(operator.start)
    return [
        ("back at work after it was killed", back, "s", "under 10"),
        ("clean stop", stopped, "s", "under 5"),
    ]


async def _quiet_minute(operator: Operator, player: Player) -> list[Row]:
    await asyncio.sleep(SETTLE_SECONDS)
    before, changes = operator.requests(*WRITES), player.num_changes
    await asyncio.sleep(QUIET_SECONDS)
    num_writes = max(operator.requests(*WRITES) - before, player.num_changes - changes)
    return [(f"writes in {QUIET_SECONDS} quiet seconds", num_writes, "", "0")]


async def changes(player: Player) -> list[Row]:
    """Change specs at a steady pace, and see when their statuses know."""
    made = named(player.namespace, NUM_CHANGED, name="changed", suspend=True)
    await player.create(made)
    await player.wait_for(Phase.SUSPENDED, NUM_CHANGED, seconds=LIMIT_SECONDS)
    sent: dict[tuple[str, str], float] = {}
    async with asyncio.TaskGroup() as group:
        for number in range(CHANGES_PER_SECOND * CHANGING_SECONDS):
            name = made[number % NUM_CHANGED]["metadata"]["name"]
            group.create_task(_change(player, name, number // NUM_CHANGED, sent))
            await asyncio.sleep(1 / CHANGES_PER_SECOND)
    await asyncio.sleep(2)
    seen = {key: player.moments[key[0]].get(key[1]) for key in sent}
    waited = sorted(at - sent[key] for key, at in seen.items() if at is not None)
    return [
        ("changes of a spec that no status has told of", len(sent) - len(waited), "", "0"),
        (f"change to status at {CHANGES_PER_SECOND} a second, median", waited[len(waited) // 2], "s", ""),
        (f"change to status at {CHANGES_PER_SECOND} a second, p99", waited[int(0.99 * len(waited))], "s", "under 1"),
    ]


async def _change(player: Player, name: str, number: int, sent: dict[tuple[str, str], float]) -> None:
    at = time.monotonic()
    body = {"spec": {"ttlSecondsAfterFinished": 86400 + number}}
    changed = await player.api.send("PATCH", FINETUNE_JOB.path(player.namespace, name), body, MERGE)
    sent[name, f"generation {changed['metadata']['generation']}"] = at


async def memory(operator: Operator, api: Api, namespace: str, *, finished: int, goal: str) -> list[Row]:
    """Start it among so many jobs more that have ended."""
    operator.stop()
    names = [f"ended-{finished}-{index:05d}" for index in range(finished)]
    await create_families(api, template(namespace), names, is_finished=True)
    ready = await asyncio.to_thread(operator.start)
    await asyncio.sleep(SETTLE_SECONDS)
    peak, resident = operator.memory()
    among = f"among {finished} more finished jobs"
    return [
        (f"seconds until ready {among}", ready, "s", ""),
        (f"peak memory of a cold start {among}", peak, "MB", goal),
        (f"resident memory {among}", resident, "MB", ""),
    ]


async def make_living(api: Api, namespace: str) -> None:
    """Have jobs that train."""
    names = [f"alive-{index:05d}" for index in range(NUM_LIVING)]
    await create_families(api, template(namespace), names, is_finished=False)
