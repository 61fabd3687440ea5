# ruff: noqa: ARG002 - worlds take the arguments of the real thing
"""Acting on decisions: what is read live, what is never done twice, and what the API server's refusals lead to."""

from collections.abc import AsyncIterator
from contextlib import suppress
from copy import deepcopy
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from finetune_api import keys
from finetune_api.contract import Progress, Role
from finetune_api.status import ConditionType, Phase, ProgressStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.children.train_job import build_train_job
from finetune_operator.core.decision import Deletion, Manifest
from finetune_operator.core.observed import Notice
from finetune_operator.core.times import format_time
from finetune_operator.shell.cluster import NameTakenError, Page
from finetune_operator.shell.kinds import CHILDREN, FINETUNE_JOB, JOB, POD, WATCHED, Kind
from finetune_operator.shell.wire import CONFLICT, NOT_FOUND, ApiError, Call
from tests.operator.given import BASE, CONFIG, PLATFORM, UID, a_job, condition, conditions, manifest
from tests.operator.world import Operator, World, run_now, run_to_the_end

GANG_2 = f"{BASE}-train-2"


class Refusing(World):
    """A world whose API server refuses every training Job."""

    async def create(self, wanted: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        if is_rehearsal:
            raise ApiError(Call(method="POST", path="jobs"), 400, 'strict decoding error: unknown field "nonsense"')
        return await super().create(wanted)


class Strict(World):
    """A world that would not take pods of the job, for a reason that it gives."""

    words = ""

    async def create(self, wanted: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        if wanted["kind"] == "Pod" and is_rehearsal:
            raise ApiError(Call(method="POST", path="pods"), 403, self.words)
        return await super().create(wanted, is_rehearsal=is_rehearsal)


class Overloaded(World):
    """A world whose API server has no time for Jobs."""

    async def create(self, wanted: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        if wanted["kind"] == "Job" and not is_rehearsal:
            raise ApiError(Call(method="POST", path="jobs"), 429, "too many requests")
        return await super().create(wanted, is_rehearsal=is_rehearsal)


class Searched(World):
    """A world that counts the lists of pods of one job."""

    searches = 0

    async def pages(self, kind: Kind, namespace: str = "", *, selector: str = "") -> AsyncIterator[Page]:
        self.searches += bool(selector)
        async for page in super().pages(kind, namespace, selector=selector):
            yield page


class Full(World):
    """A world with a quota of one kind that is used up."""

    is_full = True
    kind = "Job"

    async def create(self, wanted: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        if wanted["kind"] == self.kind and not is_rehearsal and self.is_full:
            raise ApiError(Call(method="POST", path=""), 403, f"exceeded quota: count/{self.kind}")
        return await super().create(wanted, is_rehearsal=is_rehearsal)


class Untelling(World):
    """A world with a policy that refuses every Job that tells a tracker."""

    async def create(self, wanted: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        if "-track" in wanted["metadata"]["name"] and not is_rehearsal:
            raise ApiError(Call(method="POST", path="jobs"), 422, "admission webhook denied the request")
        return await super().create(wanted, is_rehearsal=is_rehearsal)


class Governed(World):
    """A world with a policy that refuses every Job from some time on, with the status that it likes best."""

    refusal: tuple[int, str] | None = None

    async def create(self, wanted: Manifest, *, is_rehearsal: bool = False) -> Manifest:
        if wanted["kind"] == "Job" and self.refusal is not None:
            raise ApiError(Call(method="POST", path="jobs"), *self.refusal)
        return await super().create(wanted, is_rehearsal=is_rehearsal)


class Claimed(World):
    """A world with a claim for one node."""

    num_asked = 0

    async def read(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        if name == "mine":
            self.num_asked += 1
            return {"spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"accessModes": ["ReadWriteOnce"]}}
        return await super().read(kind, namespace, name)


class Held(World):
    """A world with a queue that admits nothing and says why."""

    def _follow_job(self, job: Manifest, pods: list[Manifest]) -> None:
        job["spec"]["suspend"] = True
        self._store(JOB, "MODIFIED", job)

    async def queue_words(self, namespace: str, job_uid: str) -> str:
        return f"no quota for {job_uid[-7:]}"


class Starved(World):
    """A world whose quota allows no pods; the Job controller tries again and again, with another name each time."""

    num_tries = 0

    def _make_pod(self, job: Manifest, index: int) -> None:
        job["status"] = {"startTime": format_time(self.now)}
        self._store(JOB, "MODIFIED", job)

    async def events_about(self, namespace: str, uid: str) -> list[Notice]:
        self.num_tries += 1
        return [Notice(message=f'Error creating: pods "{BASE}-{self.num_tries}" is forbidden: exceeded quota: none')]


def advance(world: World, operator: Operator, *, rounds: int) -> None:
    for _ in range(rounds):
        operator.look()
        world.control_jobs()
        world.run_pods()
        for kind in WATCHED:
            operator.resync(kind)


def train(world: World, *, phase: Phase = Phase.TRAINING) -> Operator:
    """Return the operator right after it has seen every rank run, or prepare."""
    operator = Operator(world)
    while world.status.phase != phase or not operator.cache.targets():
        world.control_jobs()
        world.run_pods()
        for kind in WATCHED:
            operator.resync(kind)
        operator.look()
    return operator


def test_a_child_that_the_cache_does_not_show_yet_is_not_made_again() -> None:
    world = World(script=("ok",))
    operator = Operator(world)
    operator.look()
    made = list(world.made)

    operator.cache.keep_only(JOB, (), version=world.version)
    operator.look()

    assert world.made == made


def test_a_whole_life_costs_twelve_requests() -> None:
    """On two nodes; a claim of its own takes two more, and progress comes on top, within its budget."""
    world = World(script=("ok",))

    run_to_the_end(world, Operator(world))

    of_claims = 2  # it is made, and gets an owner once the model is published
    assert [name.partition("/")[0] for name in world.made] == [
        "ConfigMap",
        "PersistentVolumeClaim",
        "Job",
        "Service",
        "Job",
        "Job",
    ]
    assert [event.reason for event in world.events] == ["Published"]
    assert world.writes + world.reads + world.rehearsals - of_claims <= 12


def test_a_look_that_changed_something_is_followed_by_another_at_once() -> None:
    """What was written comes back over a watch, where it is no news; the next step must not wait for anything else."""
    world = World(script=("ok",))
    operator = Operator(world)

    again = [run_now(operator.reconciler.reconcile(UID)) for _ in range(2)]

    assert again == [0.0, None]


def test_how_a_claim_may_be_mounted_is_asked_once_for_all_jobs_that_share_it() -> None:
    world = Claimed(script=("ok",), spec={"storage": {"existingClaim": "mine"}})
    operator = Operator(world)

    found = [run_now(operator.reconciler.inquiry.look(world.job)).claim_modes for _ in range(3)]
    world.now += timedelta(minutes=2)
    run_now(operator.reconciler.inquiry.look(world.job))

    assert (found, world.num_asked) == ([("ReadWriteOnce", "ReadWriteOnce")] * 3, 2)


def test_what_another_process_has_made_meanwhile_is_found_by_the_refusal_and_adopted() -> None:
    world = World(script=("ok",))
    late, quick = Operator(world), Operator(world)
    quick.look()
    made, reads = list(world.made), world.reads
    for kind in WATCHED:
        late.miss(kind)
    late.resync(FINETUNE_JOB)

    late.look()

    assert (world.made, world.reads - reads) == (made, len(made))
    assert late.cache.observe(UID).jobs == quick.cache.observe(UID).jobs


def test_a_child_whose_name_is_taken_and_free_again_is_made_at_the_next_look() -> None:
    class Passing(World):
        async def create(self, wanted: Manifest, *, is_rehearsal: bool = False) -> Manifest:
            if not is_rehearsal and not self.reads:
                raise ApiError(Call(method="POST", path="x"), CONFLICT, "the quota has been modified")
            return await super().create(wanted, is_rehearsal=is_rehearsal)

    world = Passing(script=("ok",))
    operator = Operator(world)

    operator.look()
    operator.look()

    assert f"Job/{BASE}-prepare" in world.made


def test_what_the_api_server_took_in_rehearsal_is_not_shown_to_it_again_for_a_while() -> None:
    world = World(script=("ok",))
    operator = Operator(world)
    job, other, larger = world.job, a_job("another"), a_job(resources={"sharedMemory": "3Gi"})
    operator.look()

    rehearsed = operator.reconciler.maker.rehearsed

    def is_believed(job: FinetuneJob) -> bool:
        return rehearsed.has(job, build_train_job(job, attempt=1, platform=PLATFORM))

    soon = [is_believed(one) for one in (job, other, larger)]
    world.now += timedelta(minutes=6)

    assert (soon, is_believed(job)) == ([True, True, False], False)


def test_a_config_map_that_was_removed_by_hand_is_looked_for_again_once_pods_do_not_start() -> None:
    world = World(script=("ok",))
    operator = Operator(world)
    operator.look()
    config = world.all(CHILDREN["ConfigMap"])[0]
    before = operator.reconciler.known.has(UID, config)
    world.control_jobs()
    (pod,) = world.all(POD)
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(world.now)}
    pod["status"]["conditions"] = [scheduled]
    world._store(POD, "MODIFIED", pod)
    world.now += timedelta(minutes=2)
    for kind in WATCHED:
        operator.resync(kind)

    operator.look()

    assert (before, operator.reconciler.known.has(UID, config)) == (True, False)


def test_what_was_gone_already_when_it_was_to_be_deleted_is_gone_from_the_cache_too() -> None:
    """As after a watch has lost the end of a Job: its ghost would hold up the next gang until the next full list."""
    world = World(script=("killed", "ok"))
    operator = train(world)
    while world.status.phase != Phase.RESTARTING:
        world.run_pods()
        world.control_jobs()
        for kind in WATCHED:
            operator.resync(kind)
        operator.look()
    for found in world.all(JOB):
        if "-train-1" in found["metadata"]["name"]:
            del world.objects[(JOB.name, found["metadata"]["name"])]

    operator.look()
    operator.look()

    assert not [view for view in operator.cache.observe(UID).jobs if view.role == Role.TRAIN and view.attempt == 1]


def test_no_gang_is_made_while_a_rank_of_an_older_one_lives_that_the_cache_has_lost() -> None:
    world = World(script=("killed", "ok"))
    operator = Operator(world)
    while world.status.phase != Phase.RESTARTING:
        advance(world, operator, rounds=1)
        world.now += timedelta(seconds=60)
    orphan = deepcopy(world.all(POD)[-1])
    for job in world.all(JOB):
        if "-train-" in job["metadata"]["name"]:
            run_now(world.delete("search", Deletion(kind="Job", name=job["metadata"]["name"])))
            del world.objects[("Job", job["metadata"]["name"])]
    operator.resync(JOB)
    for pod in world.all(POD):
        operator.cache.drop(POD, pod["metadata"]["uid"])

    operator.look()

    assert orphan["metadata"]["labels"][keys.LABEL_ROLE] == Role.TRAIN
    assert f"Job/{GANG_2}" not in world.made


def test_the_gangs_of_a_crash_loop_come_ever_later_whatever_becomes_of_the_operator() -> None:
    world = World(script=("killed",), spec={"retry": {"infrastructure": 5}})
    made_at: dict[str, datetime] = {}

    while world.status.phase != Phase.FAILED:
        advance(world, Operator(world), rounds=1)
        world.now += timedelta(seconds=1)
        for name in world.made:
            if "-train-" in name:
                made_at.setdefault(name, world.now)

    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(made_at.values())]
    lifetime = gaps[0]
    assert [gap - lifetime for gap in gaps] == pytest.approx([0, 10, 20, 40, 80], abs=lifetime)


def test_the_words_of_a_pod_that_the_watch_has_not_shown_yet_are_fetched() -> None:
    world = World(script=("nan",))
    operator = train(world)
    world.run_pods()
    world.control_jobs()
    operator.resync(JOB)
    world.now += timedelta(seconds=10)

    operator.look()

    assert conditions(world.status)["Training"] == ("False", "NonFiniteLoss")


def test_a_prepare_pod_whose_node_is_gone_is_not_searched_for_while_the_job_trains() -> None:
    world = Searched(script=("ok",))
    operator = train(world)
    (pod,) = [one for one in world.all(POD) if one["metadata"]["labels"][keys.LABEL_ROLE] == Role.PREPARE]
    world.delete_forced(POD, pod)
    operator.resync(POD)
    before = world.searches

    for _ in range(10):
        operator.look()

    assert world.searches == before


def test_what_the_api_server_refuses_in_rehearsal_fails_the_job_before_anything_is_made() -> None:
    world = Refusing(script=("ok",))
    operator = Operator(world)

    for _ in range(3):
        operator.look()

    assert conditions(world.status)["Validated"] == ("False", "InvalidSpec")
    assert world.made == []


def test_pods_with_additions_that_no_policy_lets_in_are_told_before_anything_is_made() -> None:
    world = Strict(script=("ok",), spec={"podTemplate": {"train": {"hostNetwork": True}}})
    world.words = 'pods "qwen" is forbidden: violates PodSecurity "restricted:latest": host namespaces'
    operator = Operator(world)

    with pytest.raises(ApiError, match="violates PodSecurity"):
        operator.look()
    with pytest.raises(ApiError, match="violates PodSecurity"):
        operator.look()

    assert f"the API server does not make Pod {BASE}-prepare: {world.words}" in [
        c.message for c in world.status.conditions
    ]
    assert world.made == []


def test_a_quota_that_has_no_room_for_pods_now_is_no_reason_not_to_prepare() -> None:
    world = Strict(script=("ok",), spec={"podTemplate": {"train": {"hostNetwork": True}}})
    world.words = 'pods "qwen" is forbidden: exceeded quota: gpus, requested: 8, used: 8, limited: 8'
    operator = Operator(world)

    operator.look()

    assert f"Job/{BASE}-prepare" in world.made


def test_a_quota_that_refuses_pods_is_told_in_the_status_and_written_once() -> None:
    world = Starved(script=("ok",))
    operator = Operator(world)
    advance(world, operator, rounds=2)

    world.now += timedelta(seconds=30)
    operator.look()
    told, version = world.status, world.version
    world.now += timedelta(seconds=60)
    advance(world, operator, rounds=3)

    message = condition(told, ConditionType.SUCCEEDED).message
    assert message == f"the API server refuses 1 of 1 pods of Job {BASE}-prepare: exceeded quota: none"
    assert (world.version, world.num_tries) == (version, 2)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Job", f"{BASE}-prepare"),
        ("PersistentVolumeClaim", f"{BASE}-workspace"),
        ("ConfigMap", names.run_config(a_job())),
    ],
)
def test_a_quota_that_refuses_the_job_itself_is_told_and_passes(kind: str, name: str) -> None:
    world = Full(script=("ok",))
    world.kind = kind
    operator = Operator(world)
    with pytest.raises(ApiError, match="exceeded quota"):
        operator.look()
    with pytest.raises(ApiError, match="exceeded quota"):
        operator.look()
    told = condition(world.status, ConditionType.SUCCEEDED)
    events = [event.reason for event in world.events]

    world.is_full = False
    operator.look()
    operator.look()

    assert (told.reason, told.message) == (
        "Blocked",
        f"the API server does not make {kind} {name}: exceeded quota: count/{kind}",
    )
    assert events == ["Blocked"]
    assert condition(world.status, ConditionType.SUCCEEDED).reason == "Preparing"


def test_a_pod_beside_the_gang_that_cannot_be_made_is_not_heard_of_in_the_job() -> None:
    tracking = {"mlflow": {"uri": "https://mlflow.example", "experiment": "search"}}
    world = Untelling(script=("ok",), spec={"tracking": tracking})
    operator = Operator(world)

    while world.status.phase != Phase.PUBLISHING:
        for kind in WATCHED:
            operator.resync(kind)
        operator.look()
        world.control_jobs()
        world.run_pods()

    assert world.events == []
    assert conditions(world.status)["Training"] == ("False", "Trained")
    assert f"Job/{BASE}-publish" in world.made


def test_a_quota_of_services_makes_the_gang_wait_and_passes() -> None:
    world = Full(script=("ok",))
    world.kind = "Service"
    operator = Operator(world)
    for _ in range(6):
        with suppress(ApiError):
            operator.look()
        world.control_jobs()
        world.run_pods()
        for kind in WATCHED:
            operator.resync(kind)
    told = condition(world.status, ConditionType.SCHEDULED)

    world.is_full = False
    run_to_the_end(world, operator)

    assert (told.reason, told.message) == (
        "Blocked",
        f"the API server does not make Service {BASE}-ranks: exceeded quota: count/Service",
    )
    assert (world.status.phase, world.status.restarts.total) == (Phase.SUCCEEDED, 0)


def test_a_busy_api_server_is_no_reason_to_fail_a_job() -> None:
    world = Overloaded(script=("ok",))
    operator = Operator(world)

    with pytest.raises(ApiError, match="too many requests"):
        operator.look()

    assert world.status.phase == Phase.PREPARING


def test_an_object_of_somebody_else_is_never_adopted() -> None:
    world = World(script=("ok",))
    foreign = {"kind": "ConfigMap", "metadata": {"name": f"{CONFIG}", "uid": "foreign"}}
    world.objects[("ConfigMap", f"{CONFIG}")] = foreign

    operator = Operator(world)
    for _ in range(2):
        with pytest.raises(NameTakenError, match=f"ConfigMap {CONFIG} belongs to somebody else"):
            operator.look()

    told = condition(world.status, ConditionType.SUCCEEDED)
    assert (told.reason, told.message) == ("Blocked", f"ConfigMap {CONFIG} belongs to somebody else; remove it")


def test_a_status_that_changed_meanwhile_is_not_overwritten_and_nothing_is_made() -> None:
    world = World(script=("ok",))
    operator = Operator(world)
    world.suspend(value=True)

    operator.look()

    assert (world.status.phase, world.made) == (None, [])


def test_a_job_that_is_gone_when_its_status_is_written_is_left_alone() -> None:
    class Emptied(World):
        async def apply_status(self, *_: object) -> Manifest:
            raise ApiError(Call(method="PATCH", path="status"), NOT_FOUND, "not found")

    world = Emptied(script=("ok",))

    Operator(world).look()

    assert world.made == []


def test_a_job_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    world = World(script=("ok",))
    world.all(FINETUNE_JOB)[0]["metadata"]["deletionTimestamp"] = "2026-11-23T09:00:00Z"

    Operator(world).look()

    assert (world.made, world.status.phase) == ([], None)


def show(world: World, operator: Operator, unreadable: Manifest) -> None:
    """Let the operator see a manifest that this version of the code cannot read."""
    for found in (world.all(FINETUNE_JOB)[0], unreadable):
        found["metadata"]["resourceVersion"] = "1000"
    operator.cache.put(FINETUNE_JOB, unreadable)


def test_a_manifest_that_cannot_be_read_is_refused_with_its_field_paths() -> None:
    world = World(script=("ok",))
    operator = Operator(world)
    broken = manifest()
    broken["spec"] |= {"nonsense": 1, "resources": {"nodes": 0}}
    show(world, operator, broken)

    operator.look()

    validated = condition(world.status, ConditionType.VALIDATED)
    assert (world.status.phase, validated.reason) == (Phase.FAILED, "InvalidSpec")
    assert "spec.nonsense: 1 is wrong because" in validated.message
    assert "spec.resources.nodes: 0 is wrong because" in validated.message


def test_a_running_job_that_this_version_cannot_read_is_left_alone() -> None:
    world = World(script=("ok",))
    operator = Operator(world)
    advance(world, operator, rounds=4)
    before = world.status
    newer = deepcopy(world.all(FINETUNE_JOB)[0])
    newer["spec"]["fieldOfTheFuture"] = True
    show(world, operator, newer)

    operator.look()

    assert before.phase is not None
    assert world.status == before


@pytest.mark.parametrize(("phase", "attempt"), [(Phase.PREPARING, 0), (Phase.TRAINING, 1)])
def test_progress_in_the_status_is_remembered_so_that_the_next_write_waits(phase: Phase, attempt: int) -> None:
    world = World(script=("ok",))
    operator = train(world, phase=phase)
    (target,) = operator.cache.targets()

    operator.cache.note_polled(target, Progress(attempt=attempt, progress=ProgressStatus(step=1)), at=0)
    operator.look()
    operator.cache.note_polled(target, Progress(attempt=attempt, progress=ProgressStatus(step=2)), at=1)
    operator.look()

    assert world.status.progress == ProgressStatus(step=1)


def test_progress_that_waits_holds_the_end_of_prepare_back_in_nothing() -> None:
    world = World(script=("ok",))
    operator = train(world, phase=Phase.PREPARING)
    (target,) = operator.cache.targets()
    for rows in (1, 2):
        told = ProgressStatus(stage="Reading", rows=rows, total_rows=2)
        operator.cache.note_polled(target, Progress(attempt=0, progress=told), at=0)
        operator.look()
    before = world.status.progress

    world.run_pods()
    world.control_jobs()
    for kind in WATCHED:
        operator.resync(kind)
    operator.look()

    assert before is not None
    assert (world.status.phase, world.status.progress) == (Phase.QUEUED, None)


def finished(**spec: object) -> tuple[World, Operator]:
    """Return a job that has just ended, and an hour that has passed since."""
    world = World(script=("ok",), spec=spec)
    operator = Operator(world)
    run_to_the_end(world, operator)
    world.now += timedelta(hours=1)
    return world, operator


def left(world: World) -> list[str]:
    return sorted(kind for kind, _ in world.objects if kind != FINETUNE_JOB.name)


def test_a_published_job_whose_jobs_somebody_removed_leaves_no_volume_behind_after_its_ttl() -> None:
    world, operator = finished(ttlSecondsAfterFinished=7200)
    for name in [name for kind, name in world.objects if kind in (JOB.name, POD.name)]:
        world.objects.pop((JOB.name, name), None)
        world.objects.pop((POD.name, name), None)
    before = left(world)
    world.now += timedelta(hours=1)

    advance(world, operator, rounds=4)

    assert before == ["ConfigMap", "PersistentVolumeClaim", "Service"]
    assert left(world) == []
    assert world.status.cleanup_time is not None


def test_an_operator_that_was_frozen_removes_no_volume_of_a_job_that_runs_anew() -> None:
    world, frozen = finished(ttlSecondsAfterFinished=1800)
    world.now += timedelta(hours=1)
    world.rerun("again")

    frozen.look()

    assert ("PersistentVolumeClaim", f"{BASE}-workspace") in world.objects


def test_an_operator_killed_before_any_write_of_a_cleanup_leaves_what_it_would_have_left() -> None:
    for point in range(20):
        world, _ = finished(ttlSecondsAfterFinished=1800, publish=None)
        world.dies_at = world.writes + point
        for _ in range(3):
            advance(world, Operator(world), rounds=6)

        assert left(world) == ["PersistentVolumeClaim"], f"killed before write {point}"
        assert world.status.cleanup_time is not None


def test_a_job_that_was_cleaned_up_costs_no_request_any_more() -> None:
    world, operator = finished(ttlSecondsAfterFinished=0)
    advance(world, operator, rounds=6)
    writes, reads = world.writes, world.reads

    for _ in range(3):
        advance(world, Operator(world), rounds=3)

    assert (world.writes, world.reads) == (writes, reads)


def test_a_cleanup_leaves_what_has_a_childs_name_and_is_none() -> None:
    world, operator = finished(ttlSecondsAfterFinished=1800)
    name = f"{BASE}-workspace"
    world.objects[("PersistentVolumeClaim", name)]["metadata"]["labels"] = {keys.LABEL_JOB_UID: "another job"}

    advance(world, operator, rounds=6)

    assert left(world) == ["PersistentVolumeClaim"]


def test_deleting_all_jobs_pods_and_services_of_a_namespace_loses_no_model() -> None:
    """As `kubectl delete all --all` does, while a job trains and once more after its end."""
    world = World(script=("ok",))
    operator = train(world)
    for moment in ("while it trains", "after its end"):
        for kind, name in list(world.objects):
            if kind in (JOB.name, POD.name):
                world._mark_deleted(CHILDREN[kind], world.objects[(kind, name)])
            if kind == "Service":
                world._store(CHILDREN[kind], "DELETED", world.objects[(kind, name)])
        run_to_the_end(world, operator)

        assert world.status.phase == Phase.SUCCEEDED, moment
        assert "PersistentVolumeClaim" in left(world), moment


@pytest.mark.parametrize(
    "refusal",
    [
        (422, "ValidatingAdmissionPolicy 'gpu-hours' with binding 'b' denied request: GPU jobs only at night"),
        (400, 'admission webhook "validate.kyverno.svc-fail" denied the request: no'),
        (500, 'Internal error occurred: failed calling webhook "x": connection refused'),
        (403, "exceeded quota"),
    ],
)
def test_a_policy_that_refuses_a_job_blocks_it_and_ends_nothing(refusal: tuple[int, str]) -> None:
    world = Governed(script=("ok",))
    world.refusal = refusal
    operator = Operator(world)
    for _ in range(2):
        with pytest.raises(ApiError):
            operator.look()

    blocked = condition(world.status, ConditionType.SUCCEEDED)
    world.refusal = None
    run_to_the_end(world, operator)

    assert blocked.reason == "Blocked"
    assert refusal[1] in blocked.message
    assert world.status.phase == Phase.SUCCEEDED


def test_an_object_that_is_wrong_in_itself_ends_a_new_job_and_blocks_one_with_something_to_lose() -> None:
    wrong = (422, "spec.template.spec.tolerations[0].operator: Unsupported value")
    new, running = Governed(script=("ok",)), Governed(script=("killed", "ok"))
    new.refusal = wrong
    operator = Operator(new)
    for _ in range(3):  # the refusal, its claim let go, its end
        operator.look()
    trained = train(running)
    running.refusal = wrong
    for _ in range(12):
        running.now += timedelta(seconds=30)
        try:
            advance(running, trained, rounds=1)
        except ApiError:
            running.control_jobs()
            running.run_pods()
            for kind in WATCHED:
                trained.resync(kind)

    assert (new.status.phase, conditions(new.status)["Validated"]) == (Phase.FAILED, ("False", "InvalidSpec"))
    assert (running.status.phase, conditions(running.status)["Succeeded"]) == (Phase.QUEUED, ("Unknown", "Blocked"))


def test_a_claim_that_several_nodes_cannot_share_is_read_and_refused_before_anything_is_made() -> None:
    world = Claimed(script=("ok",), spec={"storage": {"existingClaim": "mine"}})

    Operator(world).look()

    assert (world.status.phase, world.made) == (Phase.FAILED, [])
    assert conditions(world.status)["Validated"] == ("False", "VolumeNotShared")


def test_a_queue_is_asked_why_it_holds_a_job() -> None:
    world = Held(script=("ok",))
    operator = Operator(world)

    advance(world, operator, rounds=3)

    assert world.status.phase == Phase.QUEUED
    message = condition(world.status, ConditionType.SUCCEEDED).message
    assert message == "the queue has not admitted the prepare Job yet: no quota for prepare"
