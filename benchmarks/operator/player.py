"""Plays what nodes do: pods run and end, and rank 0 of each training tells how far it is."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from benchmarks.operator.api import MERGE, Api, ApiFailedError, Object
from finetune_api import keys
from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_api.status import PublishedStatus
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, POD

ADDRESS = "127.0.0.1"
TOTAL_STEPS = 1_000_000
ENDINGS = {
    Role.PREPARE: RunResult(role=Role.PREPARE, reason=Reason.VALIDATED),
    Role.TRAIN: RunResult(role=Role.TRAIN, reason=Reason.TRAINED, attempt=1),
    Role.PUBLISH: RunResult(
        role=Role.PUBLISH,
        reason=Reason.PUBLISHED,
        published=PublishedStatus(repository="a/b", commit="0" * 40, tag="t", url="http://example"),
    ),
}


@dataclass
class Player:
    """Plays a namespace, and notes when each of its FinetuneJobs comes to what, on the monotonic clock."""

    api: Api
    namespace: str
    is_trained: asyncio.Event = field(default_factory=asyncio.Event)
    """Until then trainings go on."""
    moments: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    """By the job's name: created, prepare, train and publish (its Jobs are there, and have ended), and each phase."""
    statuses: dict[str, Object] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """What the status of each has told of."""
    num_changes: int = 0
    """Of FinetuneJobs, whoever made them."""
    _begun: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """Play meanwhile."""
        app = web.Application()
        app.router.add_get("/progress", _tell_progress)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, ADDRESS, keys.TELEMETRY_PORT).start()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (self._pods(group), self._jobs(), self._finetune_jobs())]
            yield
            for task in tasks:
                task.cancel()
        await runner.cleanup()

    async def create(self, manifests: Iterable[Object]) -> list[Object]:
        """Create FinetuneJobs, as fast as the API server takes them; return them as it keeps them."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._create(manifest)) for manifest in manifests]
        return [task.result() for task in tasks]

    async def _create(self, manifest: Object) -> Object:
        self.note(manifest["metadata"]["name"], "created")
        return await self.api.send("POST", FINETUNE_JOB.path(self.namespace), manifest)

    def note(self, name: str, what: str) -> None:
        """Note that a job has come to something now, unless it has before."""
        self.moments[name].setdefault(what, time.monotonic())

    def seconds(self, begin: str, end: str) -> list[float]:
        """Return how long each job took from one moment to another, in order of length."""
        return sorted(one[end] - one[begin] for one in self.moments.values() if begin in one and end in one)

    def count(self, what: str) -> int:
        """Return how many of the jobs that were created here have come to that."""
        return sum("created" in one and what in one for one in self.moments.values())

    async def wait_for(self, what: str, num: int, *, seconds: float) -> None:
        """Wait until so many jobs have come to that; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while self.count(what) < num:  # noqa: ASYNC110 - an event for each number would be more
                await asyncio.sleep(0.1)

    async def _finetune_jobs(self) -> None:
        async for _, found in self.api.follow(FINETUNE_JOB, self.namespace):
            name, status = found["metadata"]["name"], found.get("status") or {}
            self.num_changes += 1
            self.statuses[name] = status
            self.note(name, str(status.get("phase")))
            for generation in range(self.generations[name] + 1, status.get("observedGeneration", 0) + 1):
                self.note(name, f"generation {generation}")  # a status that tells of a change tells of those before
                self.generations[name] = generation

    async def _jobs(self) -> None:
        async for _, found in self.api.follow(JOB, self.namespace):
            labels = found["metadata"]["labels"]
            self.note(labels[keys.LABEL_JOB], labels[keys.LABEL_ROLE])
            if "completionTime" in found.get("status", {}):
                self.note(labels[keys.LABEL_JOB], f"{labels[keys.LABEL_ROLE]} ended")

    async def _pods(self, group: asyncio.TaskGroup) -> None:
        async for change, pod in self.api.follow(POD, self.namespace):
            if change != "DELETED" and pod["metadata"]["uid"] not in self._begun:
                self._begun.add(pod["metadata"]["uid"])
                group.create_task(self._live(pod))

    async def _live(self, pod: Object) -> None:
        role = Role(pod["metadata"]["labels"][keys.LABEL_ROLE])
        await self._become(pod, "Running", "")
        if role == Role.TRAIN:
            await self.is_trained.wait()
        await self._become(pod, "Succeeded", ENDINGS[role].to_termination_message())

    async def _become(self, pod: Object, phase: str, ending: str) -> None:
        metadata = pod["metadata"]
        path = POD.path(metadata["namespace"], metadata["name"], subresource="status")
        names = [container["name"] for container in pod["spec"]["containers"]]
        try:
            await self.api.send("PATCH", path, {"status": pod_status(names, phase, ending)}, MERGE)
        except ApiFailedError as error:
            if " 404 " not in str(error):  # the pod is gone, which nodes meet, too
                raise


def pod_status(containers: Iterable[str], phase: str, ending: str, *, at: str = "") -> Object:
    """Return the status of a pod whose containers all run, or have ended with these last words."""
    at = at or now()
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at, "message": ending}
    state = {"running": {"startedAt": at}} if phase == "Running" else {"terminated": ended}
    entries = [
        {"name": name, "image": "x", "imageID": "x", "restartCount": 0, "ready": phase == "Running", "state": state}
        for name in containers
    ]
    return {
        "phase": phase,
        "startTime": at,
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}],
        "containerStatuses": entries,
    }


def now() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _tell_progress(_: web.Request) -> web.Response:
    at, step = now(), int(2 * time.monotonic()) % TOTAL_STEPS
    told = {"stage": "Training", "step": step, "totalSteps": TOTAL_STEPS, "lastUpdateTime": at}
    metrics = {"trainLoss": 1 / (1 + step % 977), "learningRate": 1e-5, "score": 0.5, "bestScore": 0.5}
    checkpoint = {"step": step // 100 * 100, "time": at}
    return web.json_response(
        {"attempt": 1, "progress": told, "metrics": metrics, "checkpoint": checkpoint, "lastStepTime": at}
    )
