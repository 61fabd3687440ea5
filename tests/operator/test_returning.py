"""Gangs that hold half of what they need: given back whole, made again in turn, and charged to nobody."""

from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import pytest

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, GangReturnsStatus, Phase, RestartCounts
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Deletion
from finetune_operator.core.observed import JobView, Observed, Trouble
from finetune_operator.core.phases import is_finished
from finetune_operator.core.returning import Waiter, find_ahead
from finetune_operator.core.times import format_time
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, POD, WATCHED
from tests.operator.given import (
    BASE,
    PREPARED,
    T0,
    a_child,
    a_job,
    a_pod,
    at,
    condition,
    kinds,
    look,
    manifest,
    ranks,
    while_training,
    with_status,
)
from tests.operator.world import Object, Operator, World

GANG = a_child(Role.TRAIN, attempt=1, started_at=T0)
HALF = (
    a_pod(Role.TRAIN, index=0, attempt=1, phase="Running", scheduled_at=T0),
    a_pod(Role.TRAIN, index=1, attempt=1, unscheduled="0/4 nodes are available"),
)


def waiting_job() -> FinetuneJob:
    job = a_job()
    made = with_status(job, look(job, PREPARED).status)
    return with_status(job, look(made, Observed(jobs=(GANG,), pods=HALF)).status)


def test_half_a_gang_gives_its_nodes_back_and_is_charged_to_nobody() -> None:
    observed = Observed(jobs=(GANG,), pods=HALF)

    before, after = look(waiting_job(), observed, now=at(590)), look(waiting_job(), observed, now=at(600))

    assert (before.delete, before.requeue_after) == ((), 10)
    assert after.delete == (Deletion(kind="Job", name=GANG.name, uid=GANG.uid),)
    assert (after.status.phase, after.status.attempt, after.status.restarts) == (Phase.QUEUED, 2, RestartCounts())
    assert after.status.gang_returns == GangReturnsStatus(
        times=1, reason="Unschedulable", since="2026-11-23T09:00:00Z", next_time="2026-11-23T09:10:36Z"
    )
    assert condition(after.status, ConditionType.SCHEDULED).message == (
        "attempt 1 gave its nodes back: 1 of 2 pods ran after 600 s (1 of 2 pods have no node yet: 0/4 nodes are "
        "available). The next one is made at 2026-11-23T09:10:36Z"
    )
    assert [event.reason for event in after.events] == ["GangReturned"]


def test_a_gang_that_was_given_back_waits_for_its_time_and_says_why() -> None:
    given_back = look(waiting_job(), Observed(jobs=(GANG,), pods=HALF), now=at(600)).status
    job = with_status(a_job(), given_back)

    leaving = look(job, Observed(pods=(replace(HALF[0], gone_at=at(650)),)), now=at(605))
    early, due = look(job, Observed(), now=at(635)), look(job, Observed(), now=at(636))

    assert (leaving.status, leaving.apply) == (given_back, ())
    assert (early.status, early.apply, early.requeue_after) == (given_back, (), 1)
    assert kinds(due)[-1] == f"Job/{BASE}-train-2"
    assert due.status.gang_returns == given_back.gang_returns


def test_a_gang_waits_for_the_one_that_goes_first_and_names_it() -> None:
    job = with_status(a_job(), look(waiting_job(), Observed(jobs=(GANG,), pods=HALF), now=at(600)).status)

    decision = look(job, Observed(gang_ahead="older"), now=at(700))

    assert (decision.apply, decision.requeue_after) == ((), 15)
    assert condition(decision.status, ConditionType.SCHEDULED).message == (
        "the gang of FinetuneJob older is made first: it was given back no more often. The next one is made at "
        "2026-11-23T09:10:36Z"
    )


@pytest.mark.parametrize(
    "pods",
    [
        tuple(replace(pod, scheduled_at=None) for pod in HALF),
        tuple(replace(pod, scheduled_at=at(300)) for pod in HALF),
    ],
    ids=["it holds no node", "its last pod got a node later"],
)
def test_a_gang_is_left_alone_after_the_same_time(pods: tuple[object, ...]) -> None:
    decision = look(waiting_job(), Observed(jobs=(GANG,), pods=pods), now=at(800))  # type: ignore[arg-type]

    assert (decision.delete, decision.status.attempt) == ((), 1)


def test_a_gang_that_a_queue_holds_is_not_given_back() -> None:
    held = replace(GANG, is_suspended=True)

    decision = look(waiting_job(), Observed(jobs=(held,), pods=HALF), now=at(9000))

    assert (decision.delete, decision.status.attempt) == ((), 1)


def test_a_gang_that_ran_is_not_given_back_because_a_pod_is_not_seen_for_a_moment() -> None:
    pods = ranks(num=1, scheduled_at=T0)

    decision = look(while_training(), Observed(jobs=(GANG,), pods=pods), now=at(90_000))

    assert (decision.delete, decision.status.attempt) == ((), 1)


def test_the_count_ends_when_a_gang_runs() -> None:
    job = with_status(a_job(), look(waiting_job(), Observed(jobs=(GANG,), pods=HALF), now=at(600)).status)
    second = a_child(Role.TRAIN, attempt=2, started_at=at(700))

    decision = look(job, Observed(jobs=(second,), pods=ranks(attempt=2, scheduled_at=at(700))), now=at(720))

    assert (decision.status.phase, decision.status.gang_returns) == (Phase.TRAINING, None)


def test_an_image_that_no_gang_in_a_row_can_get_ends_the_job_after_half_an_hour() -> None:
    trouble = Trouble(pod_uid=HALF[1].uid, reason=Reason.IMAGE_UNAVAILABLE, message="not found", since=T0)
    pods = (HALF[0], replace(HALF[1], unscheduled="", scheduled_at=T0))
    observed = Observed(jobs=(GANG,), pods=pods, troubles=(trouble,))
    before = [
        GangReturnsStatus(times=2, reason="ImageUnavailable", since=format_time(at(since)), next_time=format_time(T0))
        for since in (-1199, -1200)
    ]
    job = waiting_job()

    ends = [
        look(with_status(job, job.status.model_copy(update={"gang_returns": one})), observed, now=at(600)).status
        for one in before
    ]

    assert [end.phase for end in ends] == [Phase.QUEUED, Phase.FAILED]
    assert condition(ends[1], ConditionType.SUCCEEDED).message == (
        "gangs in a row did not start (not found). Correct spec.image or its pull secret; if the job has failed, set "
        "spec.rerun to a new text."
    )


def elastic_job(*, min_nodes: int | None, times: int) -> FinetuneJob:
    """Return a job of four nodes that may have fewer, whose gangs were given back so many times in a row."""
    job = a_job(resources={"nodes": 4, "minNodes": min_nodes})
    returns = GangReturnsStatus(times=times, reason="Unschedulable", since=format_time(T0), next_time=format_time(T0))
    made = look(job, PREPARED).status
    return with_status(job, made.model_copy(update={"attempt": times, "gang_returns": returns} if times else {}))


@pytest.mark.parametrize(
    ("min_nodes", "sizes"),
    [(None, [4, 4, 4, 4]), (4, [4, 4, 4, 4]), (3, [4, 4, 4, 4]), (2, [4, 2, 2, 2]), (1, [4, 2, 1, 1])],
)
def test_a_gang_that_may_have_fewer_nodes_is_smaller_each_time_that_one_was_given_back(
    min_nodes: int | None, sizes: list[int]
) -> None:
    gangs = []
    for times in range(4):
        job = elastic_job(min_nodes=min_nodes, times=times)
        job = job if times else a_job(resources={"nodes": 4, "minNodes": min_nodes})
        gangs.append(look(job, PREPARED if not times else Observed(), now=at(60)).apply[-1]["spec"])

    assert [(gang["completions"], gang["parallelism"]) for gang in gangs] == [(size, size) for size in sizes]
    nodes = [
        [one["value"] for one in gang["template"]["spec"]["containers"][0]["env"] if one["name"] == "PET_NNODES"]
        for gang in gangs
    ]
    assert nodes == [[str(size)] for size in sizes]


def test_a_gang_that_holds_no_node_makes_way_for_a_smaller_one_and_says_so() -> None:
    job = elastic_job(min_nodes=2, times=0)
    pods = tuple(a_pod(Role.TRAIN, index=index, attempt=1, unscheduled="0/4 nodes are available") for index in range(4))
    gang = replace(GANG, num_pods=4)
    waits = with_status(job, look(job, Observed(jobs=(gang,), pods=pods)).status)

    before, after = (look(waits, Observed(jobs=(gang,), pods=pods), now=at(seconds)) for seconds in (599, 600))

    assert (before.status.attempt, before.requeue_after) == (1, 1)
    assert after.status.attempt == 2
    assert condition(after.status, ConditionType.SCHEDULED).message == (
        "attempt 1 gave its nodes back: 0 of 4 pods ran after 600 s (4 of 4 pods have no node yet: 0/4 nodes are "
        "available). The next one, of 2 nodes, is made at 2026-11-23T09:10:36Z"
    )


def test_the_smallest_gang_waits_for_its_nodes() -> None:
    job = elastic_job(min_nodes=2, times=1)
    pods = tuple(a_pod(Role.TRAIN, index=index, attempt=1, unscheduled="0/4 nodes are available") for index in range(2))
    waits = with_status(job, look(job, Observed(jobs=(GANG,), pods=pods)).status)

    assert look(waits, Observed(jobs=(GANG,), pods=pods), now=at(9000)).status.attempt == 1


def test_a_smaller_gang_says_how_many_nodes_it_has_and_the_next_one_asks_for_all() -> None:
    job = elastic_job(min_nodes=2, times=1)

    runs = look(job, Observed(jobs=(GANG,), pods=ranks()))
    lost = look(with_status(job, runs.status), Observed(), now=at(60))
    following = look(with_status(job, lost.status), Observed(), now=at(120))

    assert (runs.status.phase, runs.status.world_size) == (Phase.TRAINING, 2)
    assert condition(runs.status, ConditionType.TRAINING).message == "attempt 1 trains on 2 of 4 nodes"
    assert following.apply[-1]["spec"]["completions"] == 4


def a_waiter(
    name: str, *, times: int = 2, created: str = "2026-11-23T09:00:00Z", is_next: bool = True
) -> tuple[Waiter, None]:
    waiter = Waiter(name=name, uid=name, created_at=created, times=times, timeout_seconds=600, is_next=is_next)
    return waiter, None


OWN, _ = a_waiter("own")


def test_who_tried_least_goes_first_and_the_older_one_among_equals() -> None:
    tired, young = a_waiter("tired", times=3), a_waiter("young", created="2026-11-23T09:00:01Z")
    old, fresh = a_waiter("old", created="2020-01-01T00:00:00Z"), a_waiter("fresh", times=1)

    assert find_ahead(OWN, [tired, young], T0) == ""
    assert find_ahead(OWN, [tired, old], T0) == "old"
    assert find_ahead(OWN, [old, fresh], T0) == "fresh"


@pytest.mark.parametrize(
    ("gang", "seconds", "ahead"),
    [
        (GANG, 659, "fresh"),
        (GANG, 660, ""),
        (replace(GANG, is_suspended=True), 0, ""),
        (replace(GANG, started_at=None), 0, "fresh"),
    ],
    ids=["being placed", "not placed in its time", "held by a queue", "just made"],
)
def test_a_gang_is_waited_for_while_it_may_be_placed(gang: JobView, seconds: float, ahead: str) -> None:
    fresh, _ = a_waiter("fresh", times=1)

    assert find_ahead(OWN, [(fresh, gang)], at(seconds)) == ahead


def test_nobody_waits_for_a_job_that_waits_for_something_else() -> None:
    assert find_ahead(OWN, [a_waiter("blocked", times=1, is_next=False)], T0) == ""


@dataclass
class FewNodes(World):
    """A world of jobs that are submitted together, and of nodes with room for one training pod each.

    Its scheduler takes the ranks of all gangs in turn: the worst that may happen to them.
    """

    num_nodes: int = 4
    num_jobs: int = 2

    def __post_init__(self) -> None:
        for number in range(self.num_jobs):
            found = deepcopy(manifest(f"job-{number}", **self.spec))
            created = format_time(T0 + timedelta(seconds=number))
            found["metadata"] |= {"uid": f"uid-{number}", "creationTimestamp": created}
            self._store(FINETUNE_JOB, "ADDED", found)

    def statuses(self) -> list[FinetuneJobStatus]:
        return [FinetuneJob.model_validate(found).status for found in self.all(FINETUNE_JOB)]

    def control_jobs(self) -> None:
        for job in self.all(JOB):
            status = job.setdefault("status", {})
            if "deletionTimestamp" in job["metadata"]:
                self._end_job(job, self._pods_of(job))
            elif "startTime" not in status:
                status["startTime"] = format_time(self.now)
                self._store(JOB, "MODIFIED", job)
            elif "conditions" not in status:
                self._follow_job(job, self._pods_of(job))

    def _pods_of(self, job: Object) -> list[Object]:
        owner = job["metadata"]["uid"]
        return [pod for pod in self.all(POD) if pod["metadata"]["ownerReferences"][0]["uid"] == owner]

    def _ranks(self) -> list[Object]:
        found = [pod for pod in self.all(POD) if pod["metadata"]["labels"][keys.LABEL_ROLE] == Role.TRAIN]
        return sorted(found, key=lambda pod: int(pod["metadata"]["labels"][keys.LABEL_COMPLETION_INDEX]))

    def schedule(self) -> None:
        num_taken = sum(pod["status"]["phase"] == "Running" for pod in self._ranks())
        for pod in [pod for pod in self._ranks() if pod["status"]["phase"] == "Pending"]:
            is_placed = num_taken < self.num_nodes and "deletionTimestamp" not in pod["metadata"]
            num_taken += is_placed
            words = {} if is_placed else {"message": "0/4 nodes are available"}
            since = format_time(self.now if is_placed else T0)
            placed = {"type": "PodScheduled", "status": str(is_placed), "lastTransitionTime": since}
            if pod["status"].get("conditions") == [placed | words]:
                continue
            pod["status"] |= {"phase": "Running" if is_placed else "Pending", "conditions": [placed | words]}
            self._store(POD, "MODIFIED", pod)

    def _run_pod(self, pod: Object) -> None:
        is_rank = pod["metadata"]["labels"][keys.LABEL_ROLE] == Role.TRAIN
        if is_rank and pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
            return  # it has no node
        super()._run_pod(pod)

    def _train(self, pod: Object, *, index: str, attempt: int) -> None:
        job = pod["metadata"]["ownerReferences"][0]["uid"]
        gang = [one for one in self._ranks() if one["metadata"]["ownerReferences"][0]["uid"] == job]
        if sum(one["status"]["phase"] in ("Running", "Succeeded") for one in gang) == len(gang):
            super()._train(pod, index=index, attempt=attempt)


def play(world: FewNodes, *, num_ends: int) -> None:
    """Let an operator that looks at every job every 20 s work until so many have ended, for four hours at most."""
    operator = Operator(world)
    for _ in range(720):
        for number in range(world.num_jobs):
            operator.look(f"uid-{number}")
        world.control_jobs()
        world.schedule()
        world.run_pods()
        for kind in WATCHED:
            operator.resync(kind)
        world.now += timedelta(seconds=20)
        if sum(is_finished(status) for status in world.statuses()) == num_ends:
            return


@pytest.mark.parametrize(("num_jobs", "num_nodes"), [(2, 4), (5, 4), (3, 7)])
def test_gangs_that_hold_half_of_what_each_needs_all_reach_their_end(num_jobs: int, num_nodes: int) -> None:
    world = FewNodes(script=("ok",), spec={"resources": {"nodes": 4}}, num_jobs=num_jobs, num_nodes=num_nodes)

    play(world, num_ends=num_jobs)

    statuses = world.statuses()
    assert [status.phase for status in statuses] == [Phase.SUCCEEDED] * num_jobs
    assert [status.restarts for status in statuses] == [RestartCounts()] * num_jobs
    assert max(status.attempt for status in statuses) > 1, "they never stood in each other's way"


def test_the_oldest_job_is_the_first_to_end() -> None:
    world = FewNodes(script=("ok",), spec={"resources": {"nodes": 4}}, num_jobs=3)

    play(world, num_ends=3)

    ends = [status.phase_times["Publishing"] for status in world.statuses()]
    assert all(first < second for first, second in pairwise(ends)), ends


def test_a_gang_that_is_too_large_for_the_cluster_does_not_keep_the_others_from_their_end() -> None:
    world = FewNodes(script=("ok",), spec={"resources": {"nodes": 4}}, num_jobs=3)
    (first, *_) = world.all(FINETUNE_JOB)
    first["spec"]["resources"]["nodes"] = 5

    play(world, num_ends=2)

    statuses = world.statuses()
    assert [status.phase for status in statuses] == [Phase.QUEUED, Phase.SUCCEEDED, Phase.SUCCEEDED]
