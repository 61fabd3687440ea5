"""Two operators at work on one job at once, each stopped before any of its requests: they come to the end of one."""

import inspect
from collections.abc import AsyncIterator, Coroutine, Generator
from dataclasses import replace
from datetime import timedelta
from types import coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_operator.core.platform import Platform
from finetune_operator.shell.kinds import JOB, WATCHED
from finetune_operator.shell.wire import CONFLICT, ApiError
from tests.operator.given import BASE, UID
from tests.operator.test_convergence import ENDS, GANG_SCHEDULED, Action, Play, failed_and_run_again
from tests.operator.world import CrashError, Operator, World, run_to_the_end

#: Of both operators: go on to the next request, hear of what happened, be killed and started again.
TURNS = st.lists(
    st.tuples(
        st.sampled_from(["go on", "go on", "go on", "go on", "hear", "hear", "kill", "jobs", "pods", "pods", "wait"]),
        st.integers(0, 7),
    ),
    max_size=100,
)
MANY = 1000


@coroutine
def a_turn() -> Generator[None]:
    """Wait for whoever runs the coroutine to go on with it."""
    yield


class Stepwise:
    """A world in which an operator stops before each of its requests, for as long as the test likes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.about_to_make = ""

    async def create(self, wanted: dict[str, Any], *, is_rehearsal: bool = False) -> dict[str, Any]:
        """Make an object; the name of one that the other operator has made meanwhile is taken."""
        self.about_to_make = "" if is_rehearsal else f"{wanted['kind']}/{wanted['metadata']['name']}"
        await a_turn()
        self.about_to_make = ""
        return await self._world.create(wanted, is_rehearsal=is_rehearsal)

    def __getattr__(self, name: str) -> object:
        method = getattr(self._world, name)

        async def ask(*arguments: object, **options: object) -> object:
            await a_turn()
            return await method(*arguments, **options)

        async def page(*arguments: object, **options: object) -> AsyncIterator[object]:
            await a_turn()
            async for found in method(*arguments, **options):
                yield found

        return page if inspect.isasyncgenfunction(method) else ask


class Worker:
    """One of the operators, in the middle of a look or not."""

    def __init__(self, world: World, platform: Platform) -> None:
        self._world, self._platform = world, platform
        self.begin()

    def begin(self) -> None:
        """Start, or start again after being killed."""
        self.cluster = Stepwise(self._world)
        self.operator = Operator(self._world, platform=self._platform, cluster=self.cluster)
        self._work: Coroutine[Any, Any, object] | None = None

    def go_on(self) -> bool:
        """Begin a look at the job, or go on with it up to the next request; True if that was its end."""
        self._work = self._work or self.operator.reconciler.reconcile(UID)
        try:
            self._work.send(None)
        except StopIteration:
            self._work = None
        except CrashError:
            self.begin()
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            self._work = None
        return self._work is None


class Pair:
    """Two operators in the world of a play."""

    def __init__(self, script: list[str], *, other: Platform = GANG_SCHEDULED) -> None:
        self.play = Play(script)
        self.workers = [Worker(self.play.world, platform) for platform in (GANG_SCHEDULED, other)]

    def act(self, action: Action) -> None:
        name, number = action
        worker = self.workers[number % 2]
        match name:
            case "go on":
                worker.go_on()
            case "hear":
                worker.operator.hear(WATCHED[number % 3], num=1 + number)
            case "kill":
                worker.begin()
            case _:
                self.play.act(action)
        self.play.check()

    def finish(self) -> None:
        """Have both go on by turns until the job has ended, then one alone, which changes nothing any more."""
        while self.play.world.status.phase not in ("Succeeded", "Failed"):
            self.look()
            self.play.check()
        self.play.finish()

    def look(self) -> None:
        """Have both look at the job once, request by request in turn; the rest of the cluster does a step."""
        looking = {*self.workers}
        while looking:
            looking = {worker for worker in looking if not worker.go_on()}
        move(self.play.world, *self.workers)

    def rerun(self) -> None:
        """Ask for another run of a job that has failed, and have it begun."""
        self.play.rerun()
        while self.play.world.status.phase == "Failed":
            self.look()


def outcome(play: Play) -> tuple[object, ...]:
    """Return the end without what an operator sees of a gang only if it looks at the right moment."""
    reasons = {condition.type: condition.reason for condition in play.world.status.conditions}
    del reasons["Scheduled"]
    status = play.world.status
    return (status.phase, status.attempt, status.restarts.total, reasons, sorted(play.world.made))


@settings(max_examples=30, deadline=None)
@given(ENDS, TURNS)
def test_two_operators_at_once_come_to_the_end_of_one(script: list[str], turns: list[Action]) -> None:
    calm, pair = Play(script), Pair(script)
    calm.finish()

    for turn in turns:
        pair.act(turn)
    pair.finish()

    assert outcome(pair.play) == outcome(calm)


@settings(max_examples=30, deadline=None)
@given(ENDS, TURNS)
def test_two_operators_of_different_releases_make_one_run_of_one_image(script: list[str], turns: list[Action]) -> None:
    calm, pair = (
        Play(script),
        Pair(script, other=replace(GANG_SCHEDULED, trainer_image="registry.example/trainer:next")),
    )
    calm.finish()

    for turn in turns:
        pair.act(turn)
    pair.finish()

    jobs = pair.play.world.all(JOB)
    images = {job["spec"]["template"]["spec"]["containers"][0]["image"] for job in jobs}
    assert outcome(pair.play) == outcome(calm)
    assert len(images) == 1


@pytest.mark.parametrize("script", [["ok"], ["killed", "ok"], ["user", "preempted", "ok"], ["nan"]])
def test_of_two_operators_one_may_be_killed_before_any_write(script: list[str]) -> None:
    calm, both = Play(script), Pair(script)
    calm.finish()
    both.finish()

    for point in range(both.play.world.writes):
        pair = Pair(script)
        for _ in range(point % 4):  # one is ahead of the other
            pair.workers[0].go_on()
        pair.play.world.dies_at = point
        pair.finish()

        assert outcome(pair.play) == outcome(calm), f"killed before write {point}"


def test_of_two_operators_one_may_be_killed_before_any_write_of_another_run() -> None:
    calm, both = failed_and_run_again(), Pair(["nan"])
    calm.finish()
    both.finish()
    begin = both.play.world.writes
    both.rerun()
    both.finish()

    for point in range(begin, both.play.world.writes):
        pair = Pair(["nan"])
        pair.finish()
        pair.play.world.dies_at = point
        pair.rerun()
        pair.finish()

        assert outcome(pair.play) == outcome(calm), f"killed before write {point}"


@pytest.mark.parametrize("script", [["ok"], ["killed", "ok"]])
def test_an_operator_that_is_frozen_before_any_request_and_wakes_up_after_the_end_changes_nothing(
    script: list[str],
) -> None:
    calm = Play(script)
    calm.finish()

    for point in range(MANY):
        pair = Pair(script)
        world, frozen = pair.play.world, pair.workers[0]
        for _ in range(point):
            if frozen.go_on():
                move(world, frozen)
        if world.status.phase == "Succeeded":
            break
        run_to_the_end(world, Operator(world, platform=GANG_SCHEDULED))
        while not frozen.go_on():
            pass
        run_to_the_end(world, Operator(world, platform=GANG_SCHEDULED))

        assert outcome(pair.play)[:-1] == outcome(calm)[:-1], f"frozen before request {point}"
        assert world.living_attempts() == set()
        assert len([job for job in world.all(JOB) if "-train-" in job["metadata"]["name"]]) == 1
    assert point > 20


def test_a_gang_that_an_operator_makes_when_it_wakes_up_long_after_its_time_is_removed() -> None:
    pair = Pair(["killed", "ok"])
    world, (frozen, awake) = pair.play.world, pair.workers
    first = f"{BASE}-train-1"
    while frozen.cluster.about_to_make != f"Job/{first}":
        if frozen.go_on():
            move(world, frozen)
    awake.begin()
    while world.living_attempts() != {"2"}:
        if awake.go_on():
            move(world, awake)

    frozen.go_on()
    woken = {job["metadata"]["name"] for job in world.all(JOB)}
    run_to_the_end(world, Operator(world, platform=GANG_SCHEDULED))

    assert {first, f"{BASE}-train-2"} <= woken
    assert first not in {job["metadata"]["name"] for job in world.all(JOB)}
    assert (world.status.phase, world.status.attempt, world.status.restarts.infrastructure) == ("Succeeded", 2, 1)


def move(world: World, *workers: Worker) -> None:
    """Let the rest of the cluster do a step, of which these operators hear."""
    for worker in workers:
        for kind in WATCHED:
            worker.operator.hear(kind, num=MANY)
    world.control_jobs()
    world.run_pods()
    world.now += timedelta(seconds=1)
