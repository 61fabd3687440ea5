"""What is measured, one scenario after another; the figures that a scenario yields are rows of the report."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from benchmarks.operator.api import MERGE, Api, Object
from benchmarks.operator.families import NODES, create_families
from benchmarks.operator.figure import Figure
from benchmarks.operator.meter import Meter
from benchmarks.operator.player import Player
from benchmarks.operator.process import WRITES, Operator
from finetune_api.status import Phase
from finetune_operator.shell.kinds import CHILDREN, FINETUNE_JOB
from tests.stack import jobs

LIMIT_SECONDS = 900
SETTLE_SECONDS, WATCHED_SECONDS, QUIET_SECONDS = 60, 60, 60
COLD_SECONDS = 20
CLAIM = "shared"
CHANGES_PER_SECOND, NUM_CHANGED, CHANGING_SECONDS = 50, 200, 20
NUM_LIVING, NUM_LIVES = 200, 50


async def make_namespace(api: Api, name: str) -> None:
    """Have a namespace, with a claim for all jobs in it."""
    await api.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    await api.send("POST", CHILDREN["PersistentVolumeClaim"].path(name), {"metadata": {"name": CLAIM}, "spec": spec})


def template(namespace: str, **changes: object) -> Object:
    """Return the demo's job on two nodes, with a claim that is there."""
    storage = {"accessMode": "ReadWriteMany", "existingClaim": CLAIM}
    return jobs.load_example("demo", namespace=namespace, resources__nodes=NODES, storage=storage, **changes)


def named(namespace: str, num: int, *, name: str, **changes: object) -> list[Object]:
    """Return so many jobs, each with a folder of its own."""
    made = []
    for index in range(num):
        job = jobs.named(template(namespace, **changes), f"{name}-{index:05d}")
        made.append(jobs.change(job, storage__subPath=job["metadata"]["name"]))
    return made


async def lives(operator: Operator, player: Player) -> list[Figure]:
    """Lead a few jobs through their lives, and count what they cost."""
    shared, own = named(player.namespace, NUM_LIVES, name="counted"), named(player.namespace, NUM_LIVES, name="own")
    for job in own:
        job["spec"]["storage"] = {"accessMode": "ReadWriteMany"}
    return [
        Figure("API requests per life, besides progress", await _requests(operator, player, shared), at_most=12),
        Figure("API requests per life with a claim of its own", await _requests(operator, player, own)),
    ]


async def _requests(operator: Operator, player: Player, made: list[Object]) -> float:
    before = operator.requests() - operator.progress_writes()
    await player.create(made)
    await player.wait_for(Phase.TRAINING, len(made), seconds=LIMIT_SECONDS)
    player.is_trained.set()
    await player.wait_for(Phase.SUCCEEDED, len(made), seconds=LIMIT_SECONDS)
    player.is_trained.clear()
    player.moments.clear()
    return (operator.requests() - operator.progress_writes() - before) / len(made)


def p99(waited: Sequence[float]) -> float:
    """Return what all but the last hundredth stay within; of seconds in order of length."""
    return waited[int(0.99 * (len(waited) - 1))]


async def burst(operator: Operator, player: Player, num: int, by_hand: Mapping[str, float]) -> list[Figure]:
    """Create so many jobs at once, and lead them to their end; in between all train at once, and the operator dies.

    `by_hand`: seconds that the same Jobs take without it, all of them ("burst") and the first ("prepare", p99).
    """
    meter, began = Meter(operator.pids), time.monotonic()
    with meter.running():
        await player.create(named(player.namespace, num, name="life"))
        await player.wait_for(Phase.TRAINING, num, seconds=LIMIT_SECONDS)
    seconds = time.monotonic() - began
    figures = await _while_all_train(operator, player)
    figures += await _killed(operator, player, num)
    released = time.monotonic()
    with meter.running():
        player.is_trained.set()
        await player.wait_for(Phase.SUCCEEDED, num + 1, seconds=LIMIT_SECONDS)
    seconds += time.monotonic() - released
    waited = player.seconds("created", "prepare")
    return [
        Figure("create to prepare Job, median", waited[num // 2], "s"),
        Figure("create to prepare Job, p99", p99(waited), "s", under=20),
        Figure("the same by hand, p99", by_hand["prepare"], "s"),
        Figure("whole lives without the training", seconds, "s"),
        Figure("the same Jobs made by hand", by_hand["burst"], "s"),
        Figure("whole lives, by the Jobs made by hand", seconds / by_hand["burst"], "times", under=2),
        Figure("CPU of the operator per life", meter.seconds["operator"] / num, "s"),
        *meter.figures("whole lives"),
        *figures,
        *await _quiet_minute(operator, player),
    ]


async def _while_all_train(operator: Operator, player: Player) -> list[Figure]:
    await asyncio.sleep(SETTLE_SECONDS)
    before, oldest, meter = player.num_changes, 0.0, Meter(operator.pids)
    with meter.running():
        for _ in range(WATCHED_SECONDS):
            await asyncio.sleep(1)
            training = [status for status in player.statuses.values() if status.get("phase") == Phase.TRAINING]
            oldest = max(oldest, *map(_age, training))
    return [
        Figure("status writes a second while all train", (player.num_changes - before) / WATCHED_SECONDS, at_most=20),
        Figure("oldest progress in a status while all train", oldest, "s", at_most=60),
        Figure("CPU of the operator while all train", 100 * meter.seconds["operator"] / WATCHED_SECONDS, "% of a core"),
        Figure("resident memory while all train", operator.memory()[1], "MB"),
    ]


def _age(status: Object) -> float:
    told_at = (status.get("progress") or {}).get("lastUpdateTime") or status["phaseTimes"]["Training"]
    return (datetime.now(UTC) - datetime.fromisoformat(told_at)).total_seconds()


async def _killed(operator: Operator, player: Player, num: int) -> list[Figure]:
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
        Figure("back at work after it was killed", back, "s", under=10),
        Figure("clean stop", stopped, "s", under=5),
    ]


async def _quiet_minute(operator: Operator, player: Player) -> list[Figure]:
    await asyncio.sleep(SETTLE_SECONDS)
    before, changes = operator.requests(*WRITES), player.num_changes
    await asyncio.sleep(QUIET_SECONDS)
    num_writes = max(operator.requests(*WRITES) - before, player.num_changes - changes)
    return [Figure(f"writes in {QUIET_SECONDS} quiet seconds", num_writes, at_most=0)]


async def changes(player: Player, by_hand: float) -> list[Figure]:
    """Change specs at a steady pace, and see when their statuses know.

    `by_hand`: how many a second the API server takes together with such a status; it is asked for half of them.
    """
    rate = min(CHANGES_PER_SECOND, by_hand / 2)
    made = named(player.namespace, NUM_CHANGED, name="changed", suspend=True)
    await player.create(made)
    await player.wait_for(Phase.SUSPENDED, NUM_CHANGED, seconds=LIMIT_SECONDS)
    sent: dict[tuple[str, str], float] = {}
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * CHANGING_SECONDS)):
            name = made[number % NUM_CHANGED]["metadata"]["name"]
            group.create_task(_change(player, name, number // NUM_CHANGED, sent))
            await asyncio.sleep(1 / rate)
    await asyncio.sleep(2)
    seen = {key: player.moments[key[0]].get(key[1]) for key in sent}
    waited = sorted(at - sent[key] for key, at in seen.items() if at is not None)
    pace = f"change to status at {rate:.0f} a second"
    return [
        Figure("changes and their statuses that the API server takes by hand", by_hand, "a second"),
        Figure("changes of a spec that no status has told of", len(sent) - len(waited), at_most=0),
        Figure(f"{pace}, median", waited[len(waited) // 2], "s"),
        Figure(f"{pace}, p99", p99(waited), "s", under=1),
    ]


async def _change(player: Player, name: str, number: int, sent: dict[tuple[str, str], float]) -> None:
    at = time.monotonic()
    body = {"spec": {"ttlSecondsAfterFinished": 86400 + number}}
    changed = await player.api.send("PATCH", FINETUNE_JOB.path(player.namespace, name), body, MERGE)
    sent[name, f"generation {changed['metadata']['generation']}"] = at


async def memory(operator: Operator, *, num: int, limit: float) -> list[Figure]:
    """Start it among so many jobs that have ended, have it scraped, and stop it."""
    ready = await asyncio.to_thread(operator.start)
    await asyncio.sleep(COLD_SECONDS)
    scrape, silence = await asyncio.to_thread(operator.scrape)
    peak, resident = operator.memory()
    operator.stop()
    among = f"among {num} finished jobs"
    return [
        Figure(f"seconds until ready {among}", ready, "s"),
        Figure(f"a scrape of /metrics {among}", scrape, "s"),
        Figure(f"longest silence during that scrape {among}", silence, "s", under=0.5),
        Figure(f"peak memory {among}, cold start and scrape", peak, "MB", under=limit),
        Figure(f"resident memory {among}", resident, "MB"),
    ]


async def make_finished(api: Api, namespace: str, numbers: Iterable[int]) -> None:
    """Have jobs that have ended, of these numbers."""
    names = [f"ended-{number:05d}" for number in numbers]
    await create_families(api, template(namespace), names, is_finished=True)


async def make_living(api: Api, namespace: str) -> None:
    """Have jobs that train."""
    names = [f"alive-{index:05d}" for index in range(NUM_LIVING)]
    await create_families(api, template(namespace), names, is_finished=False)
