# ruff: noqa: ARG002, ANN401 - it takes the arguments of the real thing
"""A small cluster in memory: API server, Job controller, scheduler and kubelet, as far as the operator can tell.

Time stands still unless moved. What happens is written to a log, and each operator reads that log as its watches
would: every kind in order, each as late as the test wishes. Requests can be made to die after any number of writes.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from prometheus_client import CollectorRegistry

from finetune_api import keys
from finetune_api.contract import ExitCode, Role, RunResult
from finetune_api.reasons import Reason
from finetune_api.status import FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Deletion, Event
from finetune_operator.core.observed import Notice
from finetune_operator.core.platform import Platform
from finetune_operator.core.times import format_time
from finetune_operator.shell.believed import Believed
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster, Page
from finetune_operator.shell.freshness import Freshness
from finetune_operator.shell.inquiry import MODES_SECONDS, Inquiry
from finetune_operator.shell.kinds import CHILDREN, FINETUNE_JOB, JOB, POD, WATCHED, Kind
from finetune_operator.shell.known import Known
from finetune_operator.shell.maker import Maker
from finetune_operator.shell.pace import Pace
from finetune_operator.shell.questions import Questions
from finetune_operator.shell.reconciler import Reconciler
from finetune_operator.shell.rehearsed import Rehearsed
from finetune_operator.shell.telemetry import Telemetry
from finetune_operator.shell.wire import CONFLICT, UNREACHABLE, ApiError, Call
from tests.operator.given import PLATFORM, T0, UID, manifest

Object = dict[str, Any]
GRACE = timedelta(seconds=50)
#: Kubernetes gives no pod a name with these characters at its end.
NAMED = str.maketrans({"0": "b", "1": "c", "3": "d"})


class CrashError(Exception):
    """The operator was killed here."""


@dataclass
class World:
    """The truth. `script` says how each gang ends: ok, user, killed, nan, preempted; the last one repeats."""

    script: tuple[str, ...]
    spec: Object = field(default_factory=dict)
    now: datetime = T0
    version: int = 100
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    log: list[tuple[str, str, Object]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    writes: int = 0
    reads: int = 0
    rehearsals: int = 0
    is_away: bool = False
    """Whether the API server gives no answer."""
    dies_at: int | None = None
    """Number of the write before which the operator is killed, once."""
    holds_pods: Callable[[Object], bool] = lambda _: False
    """Tells which pods no node takes."""
    makes_one_pod: bool = False
    """Whether the Job controller makes one pod of each Job at a time."""

    def __post_init__(self) -> None:
        self._store(FINETUNE_JOB, "ADDED", manifest(**self.spec))

    def clock(self) -> float:
        return (self.now - T0).total_seconds()

    # What tests look at

    @property
    def job(self) -> FinetuneJob:
        return FinetuneJob.model_validate(next(o for (kind, _), o in self.objects.items() if kind == FINETUNE_JOB.name))

    @property
    def status(self) -> FinetuneJobStatus:
        return self.job.status

    def all(self, kind: Kind) -> list[Object]:
        return [found for (name, _), found in self.objects.items() if name == kind.name]

    def living(self, role: Role) -> list[Object]:
        pods = [pod for pod in self.all(POD) if pod["metadata"]["labels"][keys.LABEL_ROLE] == role]
        return [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def living_attempts(self) -> set[str]:
        return {pod["metadata"]["labels"][keys.LABEL_ATTEMPT] for pod in self.living(Role.TRAIN)}

    # The API server

    def _store(self, kind: Kind, change: str, found: Object) -> Object:
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        key = (kind.name, found["metadata"]["name"])
        if change == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = found
        self.log.append((kind.name, change, deepcopy(found)))
        return deepcopy(found)

    def _write(self, path: str) -> None:
        self._answer(path)
        if self.writes == self.dies_at:
            self.dies_at = None
            raise CrashError(path)
        self.writes += 1

    def _answer(self, path: str) -> None:
        if self.is_away:
            raise ApiError(Call(method="", path=path), UNREACHABLE, "no answer")

    async def read(self, kind: Kind, namespace: str, name: str) -> Object | None:
        self._answer(name)
        self.reads += 1
        return deepcopy(self.objects.get((kind.name, name)))

    async def create(self, wanted: Object, *, is_rehearsal: bool = False) -> Object:
        self._answer(wanted["kind"])
        if is_rehearsal:
            self.rehearsals += 1
            return wanted
        name = wanted["metadata"]["name"]
        if (wanted["kind"], name) in self.objects:
            raise ApiError(Call(method="POST", path=name), CONFLICT, "already exists")
        self._write(name)
        self.made.append(f"{wanted['kind']}/{name}")
        stored = deepcopy(wanted)
        stored["metadata"]["uid"] = f"uid-{len(self.made)}-{name}"
        return self._store(CHILDREN[wanted["kind"]], "ADDED", stored)

    async def patch(self, patch: Object) -> None:
        """Understand the two changes of a claim that the operator makes."""
        name = patch["metadata"]["name"]
        self._write(name)
        found = self.objects.get((patch["kind"], name))
        if found is None:
            return
        (owner,) = patch["metadata"]["ownerReferences"]
        others = [one for one in found["metadata"].get("ownerReferences", ()) if one["uid"] != owner["uid"]]
        found["metadata"]["ownerReferences"] = others + ([] if owner.get("$patch") == "delete" else [owner])
        found["spec"]["resources"] |= patch.get("spec", {}).get("resources", {})
        self._store(CHILDREN[patch["kind"]], "MODIFIED", found)

    async def apply_status(self, job: FinetuneJob, status: FinetuneJobStatus) -> Object:
        self._write("status")
        stored = deepcopy(self.objects[(FINETUNE_JOB.name, job.metadata.name)])
        if stored["metadata"]["resourceVersion"] != job.metadata.resource_version:
            raise ApiError(Call(method="PATCH", path="status"), CONFLICT, "the object has been modified")
        before = stored.get("status")
        stored["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if stored["status"] == before:  # the API server writes nothing then
            return stored
        return self._store(FINETUNE_JOB, "MODIFIED", stored)

    async def delete(self, namespace: str, deletion: Deletion) -> bool:
        self._write(deletion.name)
        kind = CHILDREN[deletion.kind]
        found = self.objects.get((kind.name, deletion.name))
        if found is None or (deletion.uid and found["metadata"]["uid"] != deletion.uid):
            return False
        if kind in (JOB, POD) and not deletion.is_forced:
            self._mark_deleted(kind, found)
        else:
            self._store(kind, "DELETED", found)
        return True

    def _mark_deleted(self, kind: Kind, found: Object) -> None:
        if "deletionTimestamp" not in found["metadata"]:
            found["metadata"]["deletionTimestamp"] = format_time(self.now + GRACE)
            self._store(kind, "MODIFIED", found)

    async def pages(self, kind: Kind, namespace: str = "", *, selector: str = "") -> AsyncIterator[Page]:
        wanted = dict(part.split("=") for part in selector.split(",") if "=" in part)
        found = [
            deepcopy(item) for item in self.all(kind) if wanted.items() <= item["metadata"].get("labels", {}).items()
        ]
        for item in found:
            yield Page([item], self.version)

    async def events_about(self, namespace: str, uid: str) -> list[Notice]:
        return []

    async def queue_words(self, namespace: str, job_uid: str) -> str:
        return ""

    async def post_event(self, job: FinetuneJob, event: Event, *, instance: str, now: datetime) -> None:
        self._write("event")
        self.events.append(event)

    # The Job controller

    def control_jobs(self) -> None:
        for job in self.all(JOB):
            pods = [
                pod for pod in self.all(POD) if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
            ]
            if "deletionTimestamp" in job["metadata"]:
                self._end_job(job, pods)
            elif not job.get("status"):
                self._follow_job(job, pods)

    def _end_job(self, job: Object, pods: list[Object]) -> None:
        for pod in pods:
            self._mark_deleted(POD, pod)
        if not pods:
            self._store(JOB, "DELETED", job)

    def _follow_job(self, job: Object, pods: list[Object]) -> None:
        phases = {pod["status"]["phase"] for pod in pods}
        if "Failed" in phases:
            for pod in pods:
                if pod["status"]["phase"] in ("Pending", "Running"):
                    self._mark_deleted(POD, pod)
            self._finish_job(job, "Failed")
        elif len(pods) == job["spec"]["completions"] and phases == {"Succeeded"}:
            self._finish_job(job, "Complete")
        else:
            present = {pod["metadata"]["labels"][keys.LABEL_COMPLETION_INDEX] for pod in pods}
            missing = [index for index in range(job["spec"]["completions"]) if str(index) not in present]
            for index in missing[:1] if self.makes_one_pod else missing:
                self._make_pod(job, index)

    def _finish_job(self, job: Object, kind: str) -> None:
        job["status"] = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": format_time(self.now)}]}
        self._store(JOB, "MODIFIED", job)

    def _make_pod(self, job: Object, index: int) -> None:
        labels = {**job["spec"]["template"]["metadata"]["labels"], keys.LABEL_COMPLETION_INDEX: str(index)}
        token = f"{self.version:05}".translate(NAMED)
        is_rank = labels[keys.LABEL_ROLE] == Role.TRAIN
        name = f"{job['metadata']['name']}-{index}-{token}" if is_rank else f"{job['metadata']['name']}-{token}"
        metadata = {
            "name": name,
            "namespace": job["metadata"]["namespace"],
            "uid": f"uid-{name}",
            "labels": labels,
            "ownerReferences": [{"kind": "Job", "uid": job["metadata"]["uid"], "controller": True}],
        }
        self._store(POD, "ADDED", {"kind": "Pod", "metadata": metadata, "spec": {}, "status": {"phase": "Pending"}})

    # The kubelet

    def run_pods(self) -> None:
        for pod in self.all(POD):
            if (POD.name, pod["metadata"]["name"]) in self.objects:
                self._run_pod(pod)

    def _run_pod(self, pod: Object) -> None:
        is_deleting, phase = "deletionTimestamp" in pod["metadata"], pod["status"]["phase"]
        if is_deleting and phase in ("Succeeded", "Failed"):
            self._store(POD, "DELETED", pod)
        elif is_deleting:
            self._end(pod, 143)
        elif phase == "Pending" and not self.holds_pods(pod):
            pod["status"] = {"phase": "Running", "podIP": "10.0.0.1"}
            self._store(POD, "MODIFIED", pod)
        elif phase == "Running":
            self._work(pod)

    def _work(self, pod: Object) -> None:
        labels = pod["metadata"]["labels"]
        role, index = Role(labels[keys.LABEL_ROLE]), labels[keys.LABEL_COMPLETION_INDEX]
        if role == Role.PREPARE:
            self._end(pod, 0, RunResult(role=role, reason=Reason.VALIDATED, run="5eed-c0de"))
        elif role == Role.PUBLISH:
            self._end(pod, 0, RunResult(role=role, reason=Reason.PUBLISHED))
        elif role == Role.TRACK:
            if keys.LABEL_ATTEMPT not in labels:  # that beside a gang goes on until somebody removes it
                self._end(pod, 0, RunResult(role=role, reason=Reason.TRACKED))
        elif any(kind == "Service" for kind, _ in self.objects):  # without one ranks do not find each other
            self._train(pod, index=index, attempt=int(labels[keys.LABEL_ATTEMPT]))

    def _train(self, pod: Object, *, index: str, attempt: int) -> None:
        match self.script[min(attempt, len(self.script)) - 1], index:
            case "ok", _:
                self._end(pod, 0, RunResult(role=Role.TRAIN, reason=Reason.TRAINED, attempt=attempt))
            case "user", "1":
                self._end(pod, ExitCode.TRAINER_ERROR, RunResult(role=Role.TRAIN, reason=Reason.TRAINER_ERROR))
            case "nan", "0":
                self._end(pod, ExitCode.NON_FINITE_LOSS, RunResult(role=Role.TRAIN, reason=Reason.NON_FINITE_LOSS))
            case "killed", "1":
                self._end(pod, 137)
            case "preempted", "1":
                conditions = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
                self._end(pod, 143, conditions=conditions)
            case _:
                pass  # waits for its peer until somebody deletes it

    def _end(self, pod: Object, code: int, result: RunResult | None = None, **status: Any) -> None:
        message = result.to_termination_message() if result else ""
        terminated = {"exitCode": code, "message": message, "finishedAt": format_time(self.now)}
        name = pod["metadata"]["labels"][keys.LABEL_ROLE]
        containers = [{"name": name, "state": {"terminated": terminated}}]
        phase = "Failed" if code else "Succeeded"
        pod["status"] = {"phase": phase, "containerStatuses": containers, **status}
        self._store(POD, "MODIFIED", pod)

    # People

    def delete_a_pod(self, number: int) -> None:
        pods = self.all(POD)
        if pods:
            self._mark_deleted(POD, pods[number % len(pods)])

    def delete_forced(self, kind: Kind, found: Object) -> None:
        self._store(kind, "DELETED", found)

    def delete_a_job(self, number: int) -> None:
        jobs = self.all(JOB)
        if jobs:
            self._mark_deleted(JOB, jobs[number % len(jobs)])

    def suspend(self, *, value: bool) -> None:
        self.change("suspend", value)

    def rerun(self, value: str) -> None:
        self.change("rerun", value)

    def change(self, field: str, value: object) -> None:
        found = deepcopy(self.all(FINETUNE_JOB)[0])
        if found["spec"].get(field, False) != value:
            found["spec"][field] = value
            found["metadata"]["generation"] += 1
            self._store(FINETUNE_JOB, "MODIFIED", found)


class Operator:
    """One operator process in a world: the real cache and reconciler, fed from the world's log."""

    def __init__(self, world: World, *, platform: Platform = PLATFORM, cluster: object = None) -> None:
        self.world = world
        self.cache = Cache(now=lambda: world.now)
        self.cursor: dict[str, int] = {}
        for kind in WATCHED:
            self.resync(kind)
        asked, known, freshness = cast("Cluster", cluster or world), Known(), Freshness(clock=lambda: 0.0)
        inquiry = Inquiry(
            self.cache,
            asked,
            now=lambda: world.now,
            known=known,
            questions=Questions(clock=world.clock),
            modes=Believed(seconds=MODES_SECONDS, clock=world.clock),
        )
        self.reconciler = Reconciler(
            cache=self.cache,
            cluster=asked,
            inquiry=inquiry,
            maker=Maker(
                self.cache,
                asked,
                freshness=freshness,
                inquiry=inquiry,
                known=known,
                rehearsed=Rehearsed(clock=world.clock),
            ),
            known=known,
            freshness=freshness,
            telemetry=Telemetry(CollectorRegistry(), version="0"),
            platform=platform,
            instance="test",
            now=lambda: world.now,
            pace=Pace(seconds=10, writes_per_second=20, clock=world.clock),
        )

    def resync(self, kind: Kind) -> None:
        self.cursor[kind.name] = len(self.world.log)
        found = [deepcopy(item) for item in self.world.all(kind)]
        for item in found:
            self.cache.put(kind, item)
        self.cache.keep_only(kind, {item["metadata"]["uid"] for item in found}, version=self.world.version)

    def hear(self, kind: Kind, num: int) -> None:
        """Deliver the next `num` events of a kind."""
        cursor = self.cursor[kind.name]
        for name, change, found in self.world.log[cursor:]:
            if num == 0:
                break
            cursor += 1
            if name == kind.name:
                num -= 1
                if change == "DELETED":
                    self.cache.drop(kind, found["metadata"]["uid"])
                else:
                    self.cache.put(kind, deepcopy(found))
        self.cursor[kind.name] = cursor

    def miss(self, kind: Kind) -> None:
        """Lose all events of a kind that are on their way."""
        self.cursor[kind.name] = len(self.world.log)

    def look(self, uid: str = UID) -> bool:
        """Reconcile once; False if the process was killed meanwhile."""
        try:
            run_now(self.reconciler.reconcile(uid))
        except ApiError as error:
            if error.status != CONFLICT:
                raise
        except CrashError:
            return False
        return True


def run_now(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never really waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the coroutine waits for something that is not in the world")


def run_to_the_end(world: World, operator: Operator) -> None:
    """Let everybody do their part, in turn, until nothing changes any more."""
    for _ in range(400):
        before = world.version
        for kind in WATCHED:
            operator.resync(kind)
        operator.look()
        world.control_jobs()
        world.run_pods()
        world.now += timedelta(seconds=5)
        # A job that was resumed says Suspended until it has been looked at.
        ends = ("Succeeded", "Failed", "Suspended") if world.job.spec.suspend else ("Succeeded", "Failed")
        if world.version == before and world.status.phase in ends:
            return
    raise AssertionError(f"the job never ends: {world.status.phase}, attempt {world.status.attempt}")
