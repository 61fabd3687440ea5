# ruff: noqa: ANN401 - fields pass through to the models that check them
"""How a job is run may change: the next attempt has the new values, and what only waits has them at once."""

from typing import Any

import pytest

from finetune_api.contract import Role, RunConfig
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, Phase
from finetune_api.types import FinetuneJob, FinetuneJobSpec
from finetune_operator.core import names
from finetune_operator.core.observed import JobView, Observed, PodView
from finetune_operator.shell.kinds import CHILDREN, JOB, POD, WATCHED
from tests.operator.given import (
    BASE,
    CONFIG,
    PREPARED,
    TRAINED,
    a_child,
    a_job,
    a_pod,
    a_result,
    condition,
    ended,
    kinds,
    look,
    ranks,
    while_training,
    with_status,
)
from tests.operator.world import Operator, World, run_to_the_end

OLD = "qwen-666ff6cc-config-0ld0ld00"


def turn(world: World, operator: Operator) -> None:
    for kind in WATCHED:
        operator.resync(kind)
    operator.look()
    world.control_jobs()
    world.run_pods()


def mounted(world: World, job_name: str) -> FinetuneJobSpec:
    """Return the spec that the pods of a Job are told."""
    job = world.objects[(JOB.name, job_name)]
    volumes = job["spec"]["template"]["spec"]["volumes"]
    (config,) = [volume["configMap"]["name"] for volume in volumes if volume["name"] == "config"]
    return RunConfig.model_validate_json(world.objects[("ConfigMap", config)]["data"]["run.json"]).spec


def test_a_stall_timeout_that_was_raised_is_what_the_next_attempt_mounts() -> None:
    world = World(script=("killed", "hangs"))
    operator = Operator(world)
    while world.status.phase != Phase.RESTARTING:
        turn(world, operator)
    first = mounted(world, f"{BASE}-train-1").stall_timeout_seconds

    world.change("stallTimeoutSeconds", 7200)
    for _ in range(20):
        turn(world, operator)

    assert (first, mounted(world, f"{BASE}-train-2").stall_timeout_seconds) == (1800, 7200)
    assert [item["metadata"]["name"] for item in world.all(CHILDREN["ConfigMap"])] == [names.run_config(world.job)]


def test_a_gang_that_no_node_takes_is_made_anew_when_its_node_selector_is_changed() -> None:
    world = World(script=("ok",), spec={"schedule": {"nodeSelector": {"pool": "gone"}}})
    operator = Operator(world)
    world.holds_pods = lambda pod: pod["metadata"]["labels"]["finetune.dev/role"] == "train"
    while not world.living_attempts():
        turn(world, operator)
    waited = world.status.phase

    world.holds_pods = lambda _: False
    world.change("schedule", {"nodeSelector": {"pool": "h200"}})
    turn(world, operator)
    told = condition(world.status, ConditionType.SUCCEEDED)
    run_to_the_end(world, operator)

    assert waited == Phase.QUEUED
    assert told.message == "attempt 2 takes the place of one that waited, because the spec was changed"
    assert (world.status.phase, world.status.attempt, world.status.restarts.total) == (Phase.SUCCEEDED, 2, 0)
    template = world.objects[(JOB.name, f"{BASE}-train-2")]["spec"]["template"]["spec"]
    assert template["nodeSelector"] == {"pool": "h200"}


def test_a_gang_that_runs_is_left_to_run_and_the_status_says_when_the_change_takes_effect() -> None:
    job = changed(while_training(), image="registry.example/fixed:2")

    decision = look(job, running(config=CONFIG))

    training = condition(decision.status, ConditionType.TRAINING)
    assert (decision.delete, decision.apply, decision.status.phase) == ((), (), Phase.TRAINING)
    assert training.message == (
        "attempt 1 trains on 2 nodes; the changed spec takes effect with the next attempt: suspend the job and resume "
        "it to have it at once"
    )


def test_a_change_that_cannot_be_used_is_told_while_the_gang_runs_and_holds_the_next_one_until_it_is_mended() -> None:
    job = changed(while_training(), resources={"nodes": 2, "sharedMemory": "16Gi"})
    problem = (
        "spec.resources.sharedMemory: '16Gi' is wrong because shared memory counts towards the pod's memory of 16Gi; "
        "lower sharedMemory or raise resources.requests.memory"
    )

    told = look(job, running(config=CONFIG))
    lost = look(job, Observed(jobs=(gang(CONFIG),), pods=ranks("Failed", containers=ended(137))))
    held = look(with_status(job, lost.status), PREPARED)
    mended = changed(with_status(job, held.status), resources={"nodes": 2, "sharedMemory": "15Gi"})

    assert problem in condition(told.status, ConditionType.TRAINING).message
    assert (held.status.phase, held.apply) == (Phase.QUEUED, ())
    assert condition(held.status, ConditionType.SUCCEEDED).reason == Reason.INVALID_SPEC
    assert problem in condition(held.status, ConditionType.SUCCEEDED).message
    assert [event.reason for event in held.events] == ["InvalidSpec"]
    assert kinds(look(mended, PREPARED))[-1] == f"Job/{BASE}-train-2"


@pytest.mark.parametrize(
    "change",
    [{"suspend": True}, {"retry": {"userErrors": 5}}, {"ttlSecondsAfterFinished": 5}, {"activeDeadlineSeconds": 99}],
)
def test_what_the_operator_acts_on_by_itself_makes_nothing_anew(change: dict[str, Any]) -> None:
    assert names.run_config(a_job(**change)) == CONFIG


def waiting_pod(role: Role) -> PodView:
    return a_pod(role, phase="Pending", unscheduled="0/2 nodes are available")


def failed_pod(role: Role) -> PodView:
    return a_pod(role, phase="Failed", containers=ended(14, a_result(role, Reason.HUB_UNAVAILABLE, "no answer")))


@pytest.mark.parametrize("pods", [(), (waiting_pod(Role.PREPARE),), (failed_pod(Role.PREPARE),)])
def test_a_prepare_job_that_waits_for_a_node_or_for_its_next_try_is_made_anew_by_the_changed_spec(
    pods: tuple[PodView, ...],
) -> None:
    job = with_status(a_job(), look(a_job()).status)
    old = a_child(Role.PREPARE, config=OLD)

    decision = look(job, Observed(jobs=(old,), pods=pods))

    assert [f"{item.kind}/{item.name}" for item in decision.delete] == [f"Job/{BASE}-prepare", f"ConfigMap/{OLD}"]
    assert condition(decision.status, ConditionType.SUCCEEDED).message.endswith(
        "; its Job is made anew, because the spec was changed"
    )


def test_a_publish_job_that_waits_is_made_anew_by_the_changed_spec() -> None:
    job = with_status(while_training(), look(while_training(), TRAINED).status)
    old = a_child(Role.PUBLISH, config=OLD)

    decision = look(job, Observed(jobs=(*TRAINED.jobs, old), pods=(*TRAINED.pods, waiting_pod(Role.PUBLISH))))

    assert [item.name for item in decision.delete] == [f"{BASE}-publish", OLD]


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
def test_a_hub_job_whose_pod_has_begun_is_left_to_it(phase: str) -> None:
    job = with_status(a_job(), look(a_job()).status)
    observed = Observed(jobs=(a_child(Role.PREPARE, config=OLD),), pods=(a_pod(Role.PREPARE, phase=phase),))

    assert look(job, observed).delete == ()


def test_children_of_an_operator_that_noted_no_version_are_left_alone() -> None:
    job = with_status(while_training(), look(while_training(), Observed(jobs=(gang(""),), pods=ranks(num=1))).status)

    decision = look(job, Observed(jobs=(gang(""),), pods=ranks(num=1)))

    assert decision.status.phase == Phase.QUEUED
    assert decision.delete == ()


def gang(config: str) -> JobView:
    return a_child(Role.TRAIN, attempt=1, config=config)


def running(*, config: str) -> Observed:
    return Observed(jobs=(*PREPARED.jobs, gang(config)), pods=(*PREPARED.pods, *ranks()))


def changed(job: FinetuneJob, **fields: Any) -> FinetuneJob:
    """Return the job as it is after an edit of its spec."""
    metadata = job.metadata.model_copy(update={"generation": job.metadata.generation + 1})
    return with_status(a_job(**fields), job.status).model_copy(update={"metadata": metadata})


def test_a_job_says_which_version_of_the_spec_its_children_were_made_by() -> None:
    world = World(script=("ok",))
    run_to_the_end(world, Operator(world))

    noted = {item["metadata"]["annotations"]["finetune.dev/run-config"] for item in world.all(JOB)}
    assert noted == {CONFIG}
    assert world.all(POD)
