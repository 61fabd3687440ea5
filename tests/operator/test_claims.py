# ruff: noqa: ANN401, ARG002 - fields pass through to the models that check them; it takes what the real thing takes
"""The volume made for a job: it goes with the FinetuneJob where nothing on it is needed, and grows when asked to."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import Phase, StorageStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.children.volume_claim import build_volume_claim
from finetune_operator.core.decide import decide
from finetune_operator.core.decision import Decision
from finetune_operator.core.observed import ClaimAnswer, ClaimState, Observed
from finetune_operator.shell.kinds import CLAIM, WATCHED
from finetune_operator.shell.wire import FORBIDDEN, ApiError, Call
from tests.operator.given import (
    BASE,
    PLATFORM,
    T0,
    TRAINED,
    UID,
    a_child,
    a_job,
    a_pod,
    a_result,
    at,
    ended,
    look,
    while_training,
    with_status,
)
from tests.operator.world import Object, Operator, World, run_to_the_end

NAME = f"{BASE}-workspace"


def published(reason: Reason = Reason.PUBLISHED) -> Observed:
    pod = a_pod(Role.PUBLISH, phase="Succeeded", containers=ended(0, a_result(Role.PUBLISH, reason)))
    return replace(TRAINED, jobs=(*TRAINED.jobs, a_child(Role.PUBLISH, is_complete=True)), pods=(*TRAINED.pods, pod))


def at_its_end(reason: Reason = Reason.PUBLISHED, **storage: str) -> FinetuneJob:
    """Return a job whose model was published, or was not, for that reason."""
    job = while_training(storage={"accessMode": "ReadWriteMany", **storage})
    job = with_status(job, look(job, TRAINED).status)
    return with_status(job, look(job, published(reason)).status)


def first(job: FinetuneJob, observed: Observed | None = None) -> Decision:
    return decide(job, observed or Observed(), at(100), platform=PLATFORM)


def edited(job: FinetuneJob, **storage: Any) -> FinetuneJob:
    return with_status(a_job(storage={"accessMode": "ReadWriteMany", **storage}), job.status)


@pytest.mark.parametrize(
    ("retain", "reason", "goes"),
    [
        ("UntilPublished", Reason.PUBLISHED, True),
        ("UntilPublished", Reason.ALREADY_PUBLISHED, True),
        ("UntilPublished", Reason.GATE_NOT_MET, False),
        ("UntilPublished", Reason.PUBLISH_SKIPPED, False),
        ("Always", Reason.PUBLISHED, False),
        ("WithJob", Reason.GATE_NOT_MET, True),
    ],
)
def test_the_volume_goes_with_the_job_where_nothing_on_it_is_needed(retain: str, reason: Reason, goes: bool) -> None:
    job = at_its_end(reason, retain=retain)

    assert job.status.phase == Phase.SUCCEEDED
    assert job.status.storage == StorageStatus(claim=NAME, size="50Gi", goes_with_job=goes)
    assert first(job, published(reason)).change is None


@pytest.mark.parametrize(("retain", "is_owned"), [("UntilPublished", False), ("Always", False), ("WithJob", True)])
def test_a_new_volume_has_an_owner_only_if_it_goes_with_the_job_and_tells_whose_it_is(
    retain: str, is_owned: bool
) -> None:
    metadata = build_volume_claim(a_job(storage={"retain": retain}))["metadata"]

    assert metadata.get("ownerReferences") == ([names.owner(a_job())] if is_owned else None)
    assert (metadata["labels"]["finetune.dev/job"], metadata["labels"]["finetune.dev/job-uid"]) == ("qwen", UID)


def test_the_owner_is_set_before_the_end_is_told_so_that_nobody_has_to_remember_it() -> None:
    job = while_training()
    job = with_status(job, look(job, TRAINED).status)

    decision = first(job, published())

    assert (decision.status, decision.requeue_after) == (job.status, 0.0)
    assert decision.change is not None
    assert decision.change.patch == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": NAME, "namespace": "search", "ownerReferences": [names.owner(job)]},
    }


def test_a_job_that_ended_before_it_trained_anything_takes_its_volume_along() -> None:
    refused = a_pod(Role.PREPARE, phase="Failed", containers=ended(11, a_result(Role.PREPARE, Reason.BAD_SAMPLES)))
    job = with_status(a_job(), look(a_job()).status)

    status = look(job, Observed(jobs=(a_child(Role.PREPARE, is_failed=True),), pods=(refused,))).status

    assert status.storage is not None
    assert (job.status.storage, status.storage.goes_with_job) == (
        StorageStatus(claim=NAME, size="50Gi", goes_with_job=False),
        True,
    )


def test_what_is_kept_is_changed_by_its_owner_also_after_the_end() -> None:
    gated = edited(at_its_end(Reason.GATE_NOT_MET), retain="WithJob")
    done = edited(at_its_end(), retain="Always")

    to_go, to_stay = first(gated).change, first(done).change

    assert to_go is not None
    assert to_go.patch["metadata"]["ownerReferences"] == [names.owner(gated)]
    assert to_stay is not None
    assert to_stay.patch["metadata"]["ownerReferences"] == [{"$patch": "delete", "uid": UID}]


def test_the_volume_of_a_published_job_stays_while_another_job_names_it() -> None:
    decision = first(at_its_end(), Observed(is_claim_shared=True))

    assert decision.change is not None
    assert decision.change.state == ClaimState(size="50Gi", goes_with_job=False)


def test_the_ttl_leaves_a_volume_that_is_always_retained() -> None:
    job = at_its_end(retain="Always")
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"ttl_seconds_after_finished": 0})})

    assert "PersistentVolumeClaim" not in {item.kind for item in look(job, published(), now=at(9)).delete}


def test_a_volume_of_an_operator_before_this_loses_its_owner_while_it_holds_what_is_needed() -> None:
    old = StorageStatus(claim=NAME)
    running = while_training()
    running = with_status(running, running.status.model_copy(update={"storage": old}))
    done = at_its_end()
    done = with_status(done, done.status.model_copy(update={"storage": old}))

    change = first(running, TRAINED).change

    assert change is not None
    assert change.patch["metadata"]["ownerReferences"] == [{"$patch": "delete", "uid": UID}]
    assert first(done).change is None


def test_a_claim_of_the_users_own_is_never_changed() -> None:
    job = while_training(storage={"existingClaim": "mine"})
    job = with_status(job, look(job, TRAINED).status)

    assert first(job, published()).change is None


def test_storage_that_was_raised_grows_the_claim_also_while_the_gang_runs() -> None:
    job = edited(while_training(), size="100Gi")

    asked = first(job, TRAINED)
    done = look(job, TRAINED)

    assert asked.change is not None
    assert asked.change.patch["spec"] == {"resources": {"requests": {"storage": "100Gi"}}}
    assert done.status.storage == StorageStatus(claim=NAME, size="100Gi", goes_with_job=False)


def test_a_volume_that_cannot_grow_is_told_once_and_stops_nothing() -> None:
    job = edited(while_training(), size="100Gi")
    words = "only dynamically provisioned pvc can be resized"
    answer = ClaimAnswer(state=ClaimState(size="100Gi", goes_with_job=False), refusal=words)

    decision = decide(job, replace(TRAINED, claim=answer), T0, platform=PLATFORM)
    later = decide(with_status(job, decision.status), TRAINED, T0, platform=PLATFORM)

    assert decision.status.warnings == [f"volume claim {NAME} could not be changed: {words}"]
    assert decision.status.phase == Phase.PUBLISHING
    assert (later.change, later.status.warnings) == (None, decision.status.warnings)


class Unyielding(World):
    """Its API server lets no claim be changed."""

    async def patch(self, patch: Object) -> None:
        raise ApiError(Call(method="PATCH", path=""), FORBIDDEN, "a policy says no")


def claims(world: World) -> list[tuple[str, list[str]]]:
    found = world.all(CLAIM)
    return [
        (
            one["spec"]["resources"]["requests"]["storage"],
            [o["name"] for o in one["metadata"].get("ownerReferences", ())],
        )
        for one in found
    ]


def test_a_refused_change_of_the_claim_is_told_and_the_job_ends_all_the_same() -> None:
    world = Unyielding(script=("ok",))
    run_to_the_end(world, Operator(world))

    assert world.status.phase == Phase.SUCCEEDED
    assert world.status.warnings == [f"volume claim {NAME} could not be changed: a policy says no"]


def test_whoever_is_killed_at_any_write_leaves_a_published_jobs_volume_with_its_owner() -> None:
    calm = World(script=("ok",))
    run_to_the_end(calm, Operator(calm))

    assert claims(calm) == [("50Gi", ["qwen"])]
    for point in range(calm.writes):
        world = World(script=("ok",), dies_at=point)
        operator = Operator(world)
        while operator.look():
            world.control_jobs()
            world.run_pods()
            for kind in WATCHED:
                operator.resync(kind)
        run_to_the_end(world, Operator(world))
        assert claims(world) == claims(calm), f"killed before write {point}"


def test_a_full_volume_grows_and_the_rerun_works_on_the_same_one() -> None:
    world = World(script=("nan", "ok"))
    operator = Operator(world)
    run_to_the_end(world, operator)
    before = claims(world)

    world.change("storage", {"accessMode": "ReadWriteMany", "size": "80Gi"})
    world.rerun("larger")
    run_to_the_end(world, operator)

    assert (before, claims(world)) == ([("50Gi", [])], [("80Gi", ["qwen"])])
    assert (world.status.phase, world.status.attempt) == (Phase.SUCCEEDED, 2)
