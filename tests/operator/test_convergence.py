"""Whatever is lost, repeated, late or killed in between: the same end, one gang at a time, budgets respected."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.status import Phase
from finetune_operator.core.decision import Manifest
from finetune_operator.shell.kinds import JOB, POD, POD_GROUP, WATCHED
from finetune_operator.shell.wire import ApiError
from tests.operator.given import BASE, PLATFORM
from tests.operator.world import Operator, World, run_to_the_end

Action = tuple[str, int]

DISTURBANCES = st.lists(
    st.tuples(
        st.sampled_from(["look", "look", "crash", "hear", "hear", "miss", "restart", "jobs", "pods", "pods", "wait"]),
        st.integers(0, 7),
    ),
    max_size=60,
)
MEDDLING = st.lists(
    st.tuples(
        st.sampled_from(
            ["look", "crash", "hear", "restart", "jobs", "pods", "wait", "pod", "job", "suspend", "resume"]
        ),
        st.integers(0, 7),
    ),
    max_size=60,
)
ENDS = st.lists(st.sampled_from(["ok", "user", "killed", "nan", "preempted"]), min_size=1, max_size=4)


MLFLOW = {"mlflow": {"uri": "https://mlflow.example", "experiment": "search"}}
#: With PodGroups, which are made and removed with their gangs.
GANG_SCHEDULED = replace(PLATFORM, gang_scheduling="Auto")


class Play:
    """A world with an operator that can be disturbed; checks after each action what must always hold."""

    def __init__(self, script: list[str], **spec: Any) -> None:  # noqa: ANN401 - fields of the spec
        retry = {"userErrors": 1, "infrastructure": 2}
        self.world = World(script=(*script, "ok"), spec={"retry": retry, **spec})
        self.operator = Operator(self.world, platform=GANG_SCHEDULED)
        self.highest = 0
        self.end: Phase | None = None

    def act(self, action: Action) -> None:
        name, number = action
        self._actions()[name](number)
        self.check()

    def _actions(self) -> dict[str, Callable[[int], object]]:
        world = self.world
        return {
            "look": lambda _: self.operator.look(),
            "crash": self._crash,
            "hear": lambda number: self.operator.hear(WATCHED[number % 3], num=1 + number),
            "miss": lambda number: self.operator.miss(WATCHED[number % 3]),
            "restart": lambda _: self._restart(),
            "jobs": lambda _: world.control_jobs(),
            "pods": lambda _: world.run_pods(),
            "wait": self._wait,
            "pod": world.delete_a_pod,
            "job": world.delete_a_job,
            "suspend": lambda _: world.suspend(value=True),
            "resume": lambda _: world.suspend(value=False),
        }

    def _crash(self, number: int) -> None:
        self.world.dies_at = self.world.writes + number
        if not self.operator.look():
            self._restart()
        self.world.dies_at = None

    def _restart(self) -> None:
        self.operator = Operator(self.world, platform=GANG_SCHEDULED)

    def _wait(self, number: int) -> None:
        self.world.now += timedelta(seconds=number)

    def check(self) -> None:
        status, retry = self.world.status, self.world.job.spec.retry
        gangs = [name for name in self.world.made if name.startswith("Job/") and "-train-" in name]
        assert len(self.world.living_attempts()) <= 1, "two gangs are alive"
        assert len(gangs) == len(set(gangs)), "a gang was made twice"
        assert len(self.world.living(Role.TRACK)) <= 1, "two pods write to the tracker"
        assert status.attempt >= self.highest, "an attempt came back"
        assert status.restarts.user_errors <= retry.user_errors
        assert status.restarts.infrastructure <= retry.infrastructure
        assert self.end in (None, status.phase), "a finished job did not stay finished"
        self.highest = status.attempt
        if status.phase in (Phase.SUCCEEDED, Phase.FAILED):
            self.end = status.phase

    def rerun(self) -> None:
        self.world.rerun("again")
        self.end = None

    def run_until_killed(self) -> None:
        while self.operator.look():
            self.go_on()

    def go_on(self) -> None:
        self.world.control_jobs()
        self.world.run_pods()
        self.world.now += timedelta(seconds=5)
        for kind in WATCHED:
            self.operator.resync(kind)

    def finish(self) -> None:
        self._restart()
        run_to_the_end(self.world, self.operator)
        self.check()

    def end_of_job(self) -> tuple[object, ...]:
        status = self.world.status
        reasons = {one.type: (one.status, one.reason) for one in status.conditions if one.type != "Tracked"}
        return (status.phase, status.attempt, reasons, [one for one in self.world.made if "-track" not in one])

    def outcome(self) -> tuple[object, ...]:
        status = self.world.status
        reasons = {condition.type: (condition.status, condition.reason) for condition in status.conditions}
        restarts = status.restarts.model_copy(update={"last_time": None})  # when is of no account here
        groups = [group["metadata"]["name"] for group in self.world.all(POD_GROUP)]
        return (status.phase, status.attempt, restarts, reasons, sorted(self.world.made), groups)


@settings(max_examples=50, deadline=None)
@given(ENDS, DISTURBANCES)
def test_disturbances_of_the_operator_never_change_the_end(script: list[str], disturbances: list[Action]) -> None:
    calm, disturbed = Play(script), Play(script)
    calm.finish()

    for action in disturbances:
        disturbed.act(action)
    disturbed.finish()

    assert disturbed.outcome() == calm.outcome()


@settings(max_examples=50, deadline=None)
@given(ENDS, MEDDLING)
def test_people_who_delete_and_suspend_never_get_two_gangs_or_an_endless_job(
    script: list[str], meddling: list[Action]
) -> None:
    play = Play(script)

    for action in meddling:
        play.act(action)
    play.world.suspend(value=False)
    play.finish()

    assert play.world.status.phase in (Phase.SUCCEEDED, Phase.FAILED)


def test_a_train_job_that_somebody_deletes_leaves_no_pod_group() -> None:
    play = Play(["ok"])
    while f"Job/{BASE}-train-1" not in play.world.made:
        play.operator.look()
        play.go_on()
    (number,) = [at for at, job in enumerate(play.world.all(JOB)) if job["metadata"]["name"] == f"{BASE}-train-1"]
    play.world.delete_a_job(number)
    play.finish()

    assert [group["metadata"]["name"] for group in play.world.all(POD_GROUP)] == [f"{BASE}-train-2"]


@pytest.mark.parametrize("script", [["ok"], ["user", "ok"], ["killed", "preempted", "ok"], ["nan"]])
def test_a_crash_before_any_write_leads_to_the_same_end(script: list[str]) -> None:
    calm = Play(script)
    calm.finish()

    for point in range(calm.world.writes):
        play = Play(script)
        play.world.dies_at = point
        play.run_until_killed()
        play.finish()

        assert play.outcome() == calm.outcome(), f"killed before write {point}"


def failed_and_run_again() -> Play:
    play = Play(["nan"])
    play.finish()
    play.rerun()
    return play


def test_a_crash_before_any_write_of_another_run_leads_to_the_same_end() -> None:
    calm = failed_and_run_again()
    begin = calm.world.writes
    calm.finish()

    assert (calm.world.status.phase, calm.world.status.attempt) == (Phase.SUCCEEDED, 2)
    for point in range(begin, calm.world.writes):
        play = failed_and_run_again()
        play.world.dies_at = point
        play.run_until_killed()
        play.finish()

        assert play.outcome() == calm.outcome(), f"killed before write {point}"


def is_rank(pod: Manifest) -> bool:
    return bool(pod["metadata"]["labels"][keys.LABEL_ROLE] == Role.TRAIN)


def test_an_operator_killed_between_two_pods_of_a_gang_changes_nothing() -> None:
    nodes = 4
    calm, play = Play(["ok"], resources={"nodes": nodes}), Play(["ok"], resources={"nodes": nodes})
    calm.finish()
    play.world.makes_one_pod, play.world.holds_pods = True, is_rank

    killed_at: list[int] = []
    while nodes not in killed_at:
        play.act(("look", 0))
        play.go_on()
        num_ranks = sum(map(is_rank, play.world.all(POD)))
        if num_ranks and num_ranks not in killed_at:
            play.act(("restart", 0))
            killed_at.append(num_ranks)
    play.world.holds_pods = lambda _: False
    play.finish()

    assert killed_at == [1, 2, 3, 4]
    assert play.outcome() == calm.outcome()


@settings(max_examples=25, deadline=None)
@given(ENDS, MEDDLING)
def test_a_tracker_is_told_by_one_pod_at_a_time_and_changes_no_end(script: list[str], meddling: list[Action]) -> None:
    untold, told = Play(script), Play(script, tracking=MLFLOW)

    for action in meddling:
        told.act(action)
    told.world.suspend(value=False)
    told.finish()
    calm = Play(script, tracking=MLFLOW)
    calm.finish()
    untold.finish()

    assert calm.end_of_job() == untold.end_of_job()
    assert told.world.living(Role.TRACK) == []
    tracked = [one.status for one in told.world.status.conditions if one.type == "Tracked"]
    assert tracked in ([], ["True"], ["False"])


@pytest.mark.parametrize("phase", [None, Phase.PREPARING, Phase.TRAINING, Phase.PUBLISHING])
def test_ten_minutes_without_an_api_server_change_nothing_but_the_time_it_takes(phase: Phase | None) -> None:
    calm, play = Play(["killed", "ok"]), Play(["killed", "ok"])
    calm.finish()
    while play.world.status.phase != phase:
        play.operator.look()
        play.go_on()

    play.world.is_away = True
    for _ in range(120):
        with contextlib.suppress(ApiError):
            play.operator.look()
        play.world.now += timedelta(seconds=5)
    play.world.is_away = False
    run_to_the_end(play.world, play.operator)

    assert play.outcome() == calm.outcome()


def test_a_quiet_job_is_not_written_to() -> None:
    play = Play(["ok"])
    play.finish()
    before = play.world.version

    for _ in range(20):
        play.operator.look()
        play.world.now += timedelta(seconds=60)

    assert play.world.version == before


def test_a_gang_that_is_replaced_takes_its_pod_group_with_it() -> None:
    play = Play(["killed", "killed", "ok"])
    play.finish()

    made = [name for name in play.world.made if name.startswith("PodGroup/")]
    assert made == [f"PodGroup/{BASE}-train-{attempt}" for attempt in (1, 2, 3)]
    assert [group["metadata"]["name"] for group in play.world.all(POD_GROUP)] == [f"{BASE}-train-3"]
