"""Each right that the chart grants is used in the life of some job, and none is used that it does not grant.

The Lease of several replicas has a role and a test of its own: tests/api/test_lease.py.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import cast

import pytest

from finetune_operator.core.times import format_time
from finetune_operator.shell.cluster import Cluster
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, POD, WATCHED, Kind
from finetune_operator.shell.wire import ApiError, Wire
from tests.chart.test_rbac import OPERATOR
from tests.operator.given import T0
from tests.operator.noting import Noting, Right
from tests.operator.test_convergence import GANG_SCHEDULED
from tests.operator.world import Operator, World, run_now, run_to_the_end

Life = Callable[[], set[Right]]

UNHEARD = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]
SCHEDULED = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(T0)}]
HELD = [{"type": "Suspended", "status": "True", "lastTransitionTime": format_time(T0)}]


def begin(world: World) -> tuple[Noting, Operator]:
    """Return a wire, and an operator that has listed and watched over it."""
    wire = Noting(world)
    cluster = Cluster(cast("Wire", wire))
    for kind in WATCHED:
        run_now(list_and_watch(cluster, kind))
    return wire, Operator(world, platform=GANG_SCHEDULED, cluster=cluster)


async def list_and_watch(cluster: Cluster, kind: Kind) -> None:
    async for _ in cluster.pages(kind):
        pass
    with pytest.raises(ApiError, match="ended"):
        await anext(cluster.watch(kind, version=1))


def follow(world: World, operator: Operator, *, times: int, others: Callable[[], None] = lambda: None) -> None:
    """Let everybody do their part so many times, five minutes apart."""
    for _ in range(times):
        world.control_jobs()
        others()
        for kind in WATCHED:
            operator.resync(kind)
        operator.look()
        world.now += timedelta(minutes=5)


def failing_and_cleaned_up() -> set[Right]:
    world = World(script=("user", "ok"), spec={"ttlSecondsAfterFinished": 60})
    wire, operator = begin(world)
    run_to_the_end(world, operator)
    follow(world, operator, times=3)
    return wire.used


def with_additions_to_pods() -> set[Right]:
    world = World(script=("ok",), spec={"podTemplate": {"all": {"labels": {"a": "b"}}}})
    wire, operator = begin(world)
    run_to_the_end(world, operator)
    return wire.used


def seen_by_an_operator_whose_watch_of_jobs_is_late() -> set[Right]:
    world = World(script=("ok",))
    wire, operator = begin(world)
    late = Operator(world, platform=GANG_SCHEDULED, cluster=operator.reconciler.cluster)
    follow(world, operator, times=2)
    late.resync(FINETUNE_JOB)
    late.look()
    return wire.used


def on_a_node_that_falls_silent() -> set[Right]:
    def silence() -> None:
        for pod in world.all(POD):
            pod["metadata"]["deletionTimestamp"] = format_time(T0)
            pod["status"] = {"phase": "Running", "conditions": UNHEARD}

    world = World(script=("ok",))
    wire, operator = begin(world)
    follow(world, operator, times=4, others=silence)
    return wire.used


def without_the_secret_that_a_pod_mounts() -> set[Right]:
    def wait() -> None:
        for pod in world.all(POD):
            pod["status"] = {"phase": "Pending", "conditions": SCHEDULED}

    world = World(script=("ok",))
    wire, operator = begin(world)
    follow(world, operator, times=4, others=wait)
    return wire.used


def held_back_by_a_queue() -> set[Right]:
    def hold() -> None:
        for job in world.all(JOB):
            job["spec"]["suspend"] = True
            job["status"] = {"conditions": HELD}

    world = World(script=("ok",))
    wire, operator = begin(world)
    follow(world, operator, times=4, others=hold)
    return wire.used


#: What each of these takes that a failure, an end and a cleaning do not.
FURTHER: dict[Life, set[Right]] = {
    with_additions_to_pods: {("/pods", "create")},
    seen_by_an_operator_whose_watch_of_jobs_is_late: {("batch/jobs", "get")},
    on_a_node_that_falls_silent: {("/pods", "delete")},
    without_the_secret_that_a_pod_mounts: {("/events", "list")},
    held_back_by_a_queue: {("kueue.x-k8s.io/workloads", "list")},
}


@pytest.mark.parametrize("life", FURTHER, ids=lambda life: life.__name__)
def test_what_may_happen_to_a_job_takes_a_right_of_its_own(life: Life) -> None:
    assert life() - failing_and_cleaned_up() == FURTHER[life]


def test_every_right_that_is_granted_is_used_and_no_other() -> None:
    granted = {(resource, verb) for resource, verbs in OPERATOR for verb in verbs.split()}

    assert failing_and_cleaned_up().union(*FURTHER.values()) == granted
