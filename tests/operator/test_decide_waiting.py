"""decide, while queues, nodes, finalizers and people make a job wait: what is told, and what is not held against it."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Deletion
from finetune_operator.core.observed import Observed, PodView, Refusal
from tests.operator.given import (
    BASE,
    PREPARED,
    T0,
    TRAINED,
    a_child,
    a_job,
    a_pod,
    a_result,
    at,
    condition,
    conditions,
    ended,
    kinds,
    look,
    ranks,
    while_training,
    with_status,
)

GANG = a_child(Role.TRAIN, attempt=1, started_at=T0)


def queued_job(**spec: Any) -> FinetuneJob:  # noqa: ANN401 - fields pass through to the models that check them
    job = a_job(**spec)
    return with_status(job, look(job, PREPARED).status)


def summary(status: FinetuneJobStatus) -> str:
    return condition(status, ConditionType.SUCCEEDED).message


# Queues


def test_a_gang_that_failed_while_a_queue_held_it_is_made_again_for_free() -> None:
    lost = replace(GANG, is_suspended=True, is_failed=True, failure="BackoffLimitExceeded")
    saved = ended(17, a_result(Role.TRAIN, Reason.PREEMPTED))

    for pods in ((), ranks("Failed", containers=saved), ranks("Failed", containers=ended(137), gone_at=T0)):
        decision = look(while_training(), Observed(jobs=(lost,), pods=pods), now=at(60))

        assert (decision.status.phase, decision.status.attempt) == (Phase.RESTARTING, 2)
        assert decision.status.restarts.total == 0
        assert decision.delete == (Deletion(kind="Job", name=GANG.name, uid=GANG.uid),)
        assert conditions(decision.status)["Training"] == ("False", "Preempted")


def test_a_rank_that_failed_by_itself_while_a_queue_took_its_job_is_the_cause() -> None:
    lost = replace(GANG, is_suspended=True, is_failed=True)
    pods = ranks("Failed", containers=ended(15, a_result(Role.TRAIN, Reason.NON_FINITE_LOSS)))

    decision = look(while_training(), Observed(jobs=(lost,), pods=pods), now=at(60))

    assert conditions(decision.status)["Training"] == ("False", "NonFiniteLoss")


@pytest.mark.parametrize(
    "start", [{"started_at": at(100)}, {"started_at": None, "held_since": at(90)}], ids=["begun anew", "not begun yet"]
)
@pytest.mark.parametrize(
    "old", [{"phase": "Running"}, {"phase": "Failed", "containers": ended(137)}], ids=["running", "ended"]
)
def test_pods_that_go_while_a_queue_has_admitted_the_job_anew_are_waited_for(
    old: dict[str, Any], start: dict[str, Any]
) -> None:
    again = replace(GANG, **start)
    leaving = ranks(gone_at=at(140), left_at=at(90), **old)
    new = tuple(replace(pod, name=f"{pod.name}-new", uid=f"{pod.uid}-new") for pod in ranks())

    waiting = look(while_training(), Observed(jobs=(again,), pods=leaving), now=at(105))
    running = look(while_training(), Observed(jobs=(again,), pods=(*leaving, *new)), now=at(150))

    assert (waiting.status.phase, waiting.status.attempt, waiting.delete) == (Phase.QUEUED, 1, ())
    assert summary(waiting.status) == "0 of 2 pods run"
    assert (running.status.phase, running.status.attempt) == (Phase.TRAINING, 1)


def test_pods_of_a_gang_that_start_one_after_another_are_not_told_of_one_by_one() -> None:
    job = queued_job()
    none = replace(PREPARED, jobs=(*PREPARED.jobs, GANG), seconds_to_progress=7.0)
    one = replace(none, pods=(*PREPARED.pods, *ranks(num=1)))
    without_node = a_pod(Role.TRAIN, index=1, attempt=1, unscheduled="0/3 fit")

    made, soon, later = look(job, none), look(job, one), look(job, replace(one, seconds_to_progress=0.0))
    again = look(with_status(job, later.status), none)
    stuck = look(job, replace(one, pods=(*one.pods, without_node)))
    mended = look(with_status(job, stuck.status), one)

    for unchanged in (made, soon):
        assert (unchanged.status, unchanged.requeue_after) == (job.status, 7.0)
    assert summary(later.status) == "1 of 2 pods run"
    assert (again.status, again.requeue_after) == (later.status, 7.0)
    assert summary(stuck.status) == "1 of 2 pods have no node yet: 0/3 fit"
    assert summary(mended.status) == "1 of 2 pods run"


def test_a_gang_that_was_deleted_before_the_status_told_of_it_gets_another_number() -> None:
    job = queued_job()

    decision = look(job, replace(PREPARED, newest_attempt=1))

    assert (decision.status.phase, decision.status.attempt) == (Phase.RESTARTING, 2)


def test_a_gang_whose_job_failed_by_pods_of_an_earlier_admission_is_made_again_for_free() -> None:
    lost = replace(GANG, started_at=at(100), is_failed=True, failure="BackoffLimitExceeded")
    pods = ranks("Failed", containers=ended(137), gone_at=at(140), left_at=at(90))

    decision = look(while_training(), Observed(jobs=(lost,), pods=pods), now=at(150))

    assert (decision.status.attempt, decision.status.restarts.total) == (2, 0)


@pytest.mark.parametrize(
    ("role", "done", "words"),
    [(Role.PREPARE, Observed(), "prepare"), (Role.TRAIN, PREPARED, "training"), (Role.PUBLISH, TRAINED, "publish")],
)
def test_a_job_that_a_queue_holds_is_queued_in_the_queues_own_words(role: Role, done: Observed, words: str) -> None:
    job = with_status(a_job(), look(a_job(), done).status)
    held = a_child(role, attempt=int(role == Role.TRAIN), is_suspended=True)
    observed = replace(done, jobs=(*done.jobs, held))
    refusal = Refusal(job_uid=held.uid, message="2 more GPUs are needed", is_of_queue=True)

    silent, told = look(job, observed), look(job, replace(observed, refusals=(refusal,)))

    assert (silent.status.phase, silent.requeue_after) == (Phase.QUEUED, 60)
    assert summary(silent.status) == f"the queue has not admitted the {words} Job yet"
    assert summary(told.status) == f"the queue has not admitted the {words} Job yet: 2 more GPUs are needed"


@pytest.mark.parametrize(
    ("role", "done", "hint"),
    [
        (Role.PREPARE, Observed(), "spec.schedule.queueName, and let all roles carry it: queue.allRoles of the chart"),
        (Role.TRAIN, PREPARED, "spec.schedule.queueName"),
    ],
)
@pytest.mark.parametrize("words", ["LocalQueue  doesn't exist", "LocalQueue missing doesn't exist"])
def test_a_job_whose_queue_is_not_there_is_told_how_to_name_one(
    role: Role, done: Observed, hint: str, words: str
) -> None:
    job = with_status(a_job(), look(a_job(), done).status)
    held = a_child(role, attempt=int(role == Role.TRAIN), is_suspended=True)
    refusal = Refusal(job_uid=held.uid, message=words, is_of_queue=True)

    told = look(job, replace(done, jobs=(*done.jobs, held), refusals=(refusal,)))

    assert summary(told.status).partition(": ")[2] == f"{words}. Name one that does in {hint}"


def test_a_job_whose_prepare_a_queue_holds_can_be_suspended() -> None:
    job = with_status(a_job(suspend=True), look(a_job()).status)

    decision = look(job, Observed(jobs=(a_child(Role.PREPARE, is_suspended=True),)))

    assert decision.status.phase == Phase.SUSPENDED


# Limits


@pytest.mark.parametrize("is_held", [True, False], ids=["in a queue", "without nodes"])
def test_waiting_does_not_count_towards_the_deadline(*, is_held: bool) -> None:
    waiting = Observed(jobs=(replace(GANG, is_suspended=is_held),), pods=ranks("Pending"))

    decision = look(queued_job(activeDeadlineSeconds=3600), waiting, now=at(172_800))

    assert decision.status.phase == Phase.QUEUED


def test_a_gang_that_succeeded_is_published_whatever_the_deadline_says() -> None:
    job = while_training(activeDeadlineSeconds=100)
    late = replace(GANG, is_complete=True, finished_at=at(200))

    words_on_their_way = look(job, Observed(jobs=(late,), pods=ranks()), now=at(201))
    told = look(job, replace(TRAINED, jobs=(*PREPARED.jobs, late)), now=at(202))

    assert words_on_their_way.status.phase == Phase.TRAINING
    assert told.status.phase == Phase.PUBLISHING


def test_a_training_that_began_by_a_clock_far_ahead_has_its_deadline_all_the_same() -> None:
    job = while_training(activeDeadlineSeconds=100)
    job = with_status(job, job.status.model_copy(update={"training_time": "2027-11-23T09:00:00Z"}))
    running = Observed(jobs=(GANG,), pods=ranks())

    seen = look(job, running, now=at(60))
    over = look(with_status(job, seen.status), running, now=at(160))

    assert (seen.status.training_time, seen.requeue_after) == ("2026-11-23T09:01:00Z", 100.0)
    assert conditions(over.status)["Succeeded"] == ("False", "DeadlineExceeded")


def test_a_model_that_is_being_published_is_past_the_deadline() -> None:
    job = with_status(a_job(activeDeadlineSeconds=1), look(while_training(), TRAINED, now=at(60)).status)

    decision = look(job, replace(TRAINED, jobs=(*TRAINED.jobs, a_child(Role.PUBLISH))), now=at(9000))

    assert decision.status.phase == Phase.PUBLISHING


def test_waiting_has_a_limit_of_its_own_that_a_suspension_begins_anew() -> None:
    job = queued_job(schedule={"queueTimeoutSeconds": 100})
    held = Observed(jobs=(replace(GANG, is_suspended=True),))
    job = with_status(job, look(job, held).status)
    resumed = with_status(job, job.status.model_copy(update={"start_time": "2026-11-23T09:01:00Z"}))

    before, after = look(job, held, now=at(90)), look(job, held, now=at(100))
    later = look(resumed, held, now=at(159))

    assert (before.status.phase, before.requeue_after) == (Phase.QUEUED, 10)
    assert (after.status.phase, after.delete) == (Phase.FAILED, (Deletion(kind="Job", name=GANG.name, uid=GANG.uid),))
    assert summary(after.status) == (
        "training pods waited for schedule.queueTimeoutSeconds: 100, last because the queue has not admitted the "
        "training Job yet. Raise schedule.queueTimeoutSeconds, ask for fewer nodes or another queue, and set "
        "spec.rerun to a new text."
    )
    assert later.status.phase == Phase.QUEUED


@pytest.mark.parametrize(("role", "done"), [(Role.PREPARE, Observed()), (Role.PUBLISH, TRAINED)])
def test_a_prepare_or_publish_job_whose_time_is_over_says_which_field_and_what_its_last_try_said(
    role: Role, done: Observed
) -> None:
    job = with_status(a_job(), look(a_job(), done).status)
    failed = a_child(role, is_failed=True, failure="DeadlineExceeded: Job was active longer than specified deadline")
    tried = a_pod(role, phase="Failed", containers=ended(14, a_result(role, Reason.HUB_UNAVAILABLE, "503")))

    decision = look(job, Observed(jobs=(*done.jobs, failed), pods=(*done.pods, tried)))

    assert conditions(decision.status)["Succeeded"] == ("False", "DeadlineExceeded")
    assert summary(decision.status).startswith(f"{role} took longer than spec.{role}TimeoutSeconds; its last try: 503")


# Nodes, finalizers and claims


def losing(*pods: PodView) -> tuple[FinetuneJob, Observed]:
    """Return a job that has given its first gang up, and what is left of that."""
    job = while_training()
    lost = look(job, Observed(jobs=(GANG,), pods=ranks("Failed", containers=ended(137))), now=at(60))
    return with_status(job, lost.status), Observed(jobs=(replace(GANG, is_deleting=True, gone_at=at(60)),), pods=pods)


def test_a_pod_that_does_not_leave_a_node_that_answers_is_told_and_not_forced() -> None:
    job, left = losing(a_pod(Role.TRAIN, attempt=1, phase="Running", gone_at=at(110)))

    soon, late = look(job, left, now=at(130)), look(job, left, now=at(140))

    assert (soon.status, soon.requeue_after) == (job.status, 10)
    assert (late.status.phase, late.delete, late.apply) == (Phase.RESTARTING, (), ())
    assert summary(late.status).startswith(
        "pod train-1-0 should be gone since 2026-11-23T09:01:50Z, and node node-1 answers. Look at the node"
    )
    assert [event.reason for event in late.events] == ["PodStuck"]


@pytest.mark.parametrize(
    ("fields", "is_forced"),
    [
        ({"phase": "Running", "is_unheard": True}, True),
        ({"phase": "Pending", "disruption": "DeletionByTaintManager"}, True),
        ({"phase": "Running", "containers": ended(1), "disruption": "DeletionByTaintManager"}, False),
    ],
    ids=["its node is silent", "it never ran and a taint drove it out", "a taint drove it out of a living node"],
)
def test_only_pods_of_dead_nodes_are_removed_by_force(fields: dict[str, Any], *, is_forced: bool) -> None:
    job, left = losing(a_pod(Role.TRAIN, attempt=1, gone_at=at(110), **fields))

    decision = look(job, left, now=at(140))

    forced = Deletion(kind="Pod", name="train-1-0", uid="uid-train-1-0", is_forced=True)
    assert decision.delete == ((forced,) if is_forced else ())


def test_a_pod_that_a_queue_took_away_from_a_silent_node_does_not_hold_up_its_job_for_ever() -> None:
    held = replace(GANG, is_suspended=True)
    lost = a_pod(Role.TRAIN, attempt=1, phase="Running", is_unheard=True, gone_at=at(110))
    observed = Observed(jobs=(held,), pods=(lost,))
    job = with_status(while_training(), look(while_training(), observed, now=at(100)).status)

    soon, late = look(job, observed, now=at(130)), look(job, observed, now=at(140))

    assert (soon.delete, soon.requeue_after) == ((), 10)
    assert late.delete == (Deletion(kind="Pod", name=lost.name, uid=lost.uid, is_forced=True),)


KEPT = replace(GANG, is_deleting=True, gone_at=at(60), finalizers=("example.com/audit",))
WORDS = f"Job {BASE}-train-1 was removed and is kept by example.com/audit; whoever set that has to let it go"


def test_a_job_that_a_finalizer_keeps_does_not_stop_the_next_attempt_and_is_told() -> None:
    job, _ = losing()
    ended_pod = a_pod(Role.TRAIN, attempt=1, phase="Failed", gone_at=at(60), containers=ended(137))

    soon = look(job, Observed(jobs=(KEPT,), pods=(ended_pod,)), now=at(90))
    late = look(job, Observed(jobs=(KEPT,)), now=at(180))

    assert kinds(soon)[-1] == kinds(late)[-1] == f"Job/{BASE}-train-2"
    assert (soon.status.warnings, late.status.warnings) == ([], [WORDS])


@pytest.mark.parametrize("role", [Role.TRAIN, Role.PREPARE])
def test_a_job_that_a_finalizer_keeps_stops_a_rerun_only_where_its_name_is_needed(role: Role) -> None:
    failed = look(
        while_training(retry={"infrastructure": 0}), Observed(jobs=(GANG,), pods=ranks("Failed", containers=ended(137)))
    )
    job = with_status(a_job(rerun="again"), failed.status)
    kept = replace(KEPT, role=role, attempt=int(role == Role.TRAIN))

    decision = look(job, Observed(jobs=(kept,)), now=at(180))

    if role == Role.TRAIN:
        assert kinds(decision)[-1] == f"Job/{BASE}-prepare"
    else:
        assert (decision.apply, decision.status.phase, decision.status.warnings) == ((), Phase.FAILED, [WORDS])


@pytest.mark.parametrize(
    ("nodes", "modes", "phase"),
    [
        (2, ("ReadWriteOnce",), Phase.FAILED),
        (2, ("ReadWriteOnce", "ReadWriteMany"), Phase.PREPARING),
        (2, (), Phase.PREPARING),
        (1, ("ReadWriteOnce",), Phase.PREPARING),
    ],
)
def test_a_claim_of_one_node_for_several_is_refused_before_anything_is_made(
    nodes: int, modes: tuple[str, ...], phase: Phase
) -> None:
    job = a_job(storage={"existingClaim": "mine"}, resources={"nodes": nodes})

    decision = look(job, Observed(claim_modes=modes))

    assert decision.status.phase == phase
    if phase == Phase.FAILED:
        assert decision.apply == ()
        assert conditions(decision.status)["Validated"] == ("False", "VolumeNotShared")
        assert summary(decision.status).startswith(
            "spec.storage.existingClaim: 'mine' is wrong because its access mode is ReadWriteOnce, and 2 nodes are to "
            "write to it. Name a claim"
        )
