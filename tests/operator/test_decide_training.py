"""decide, while gangs wait, run, are lost and are replaced."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_api.contract import Progress, Role
from finetune_api.reasons import Reason
from finetune_api.status import (
    AvoidedNode,
    CheckpointStatus,
    ConditionType,
    LostAttempt,
    MetricsStatus,
    Phase,
    ProgressStatus,
    RestartCounts,
)
from finetune_api.types import FinetuneJob
from finetune_operator.core.avoiding import with_fault
from finetune_operator.core.decision import Deletion
from finetune_operator.core.failures import Failure
from finetune_operator.core.observed import Observed, ProgressReport, Trouble
from tests.operator.given import (
    BASE,
    PREPARED,
    T0,
    a_child,
    a_job,
    a_pod,
    a_report,
    a_result,
    at,
    beside_a_sidecar,
    condition,
    conditions,
    ended,
    kinds,
    look,
    ranks,
    while_training,
    with_restarts,
    with_status,
)

GANG = a_child(Role.TRAIN, attempt=1)
DELETE_GANG = Deletion(kind="Job", name=f"{BASE}-train-1", uid=f"uid-{BASE}-train-1")
LOST_GANG = Observed(jobs=(GANG,), pods=ranks("Failed", containers=ended(137)))
PREEMPTED_GANG = Observed(jobs=(GANG,), pods=ranks("Failed", disruption="PreemptionByScheduler", containers=ended(143)))


def with_checkpoint(job: FinetuneJob, step: int) -> FinetuneJob:
    return with_status(job, job.status.model_copy(update={"checkpoint": CheckpointStatus(step=step)}))


def stalled(step: int, *, attempt: int) -> Observed:
    """Return a gang whose rank 0 has stood still at a step for half an hour."""
    report = a_report(step, attempt=attempt, seen_still_seconds=1800)
    return Observed(jobs=(a_child(Role.TRAIN, attempt=attempt),), pods=ranks(attempt=attempt), progress=report)


def once(job: FinetuneJob, observed: Observed, *, seconds: float) -> FinetuneJob:
    """Return the job after one look at what is observed then."""
    return with_status(job, look(job, observed, now=at(seconds)).status)


def test_unschedulable_pods_show_the_schedulers_words() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)
    pods = (*ranks(num=1), a_pod(Role.TRAIN, index=1, attempt=1, unscheduled="0/2 nodes are available"))

    decision = look(job, Observed(jobs=(GANG,), pods=pods))

    scheduled = condition(decision.status, ConditionType.SCHEDULED)
    assert (scheduled.status, scheduled.reason) == ("False", "Unschedulable")
    assert scheduled.message == "1 of 2 pods have no node yet: 0/2 nodes are available"
    assert [(event.kind, event.reason) for event in decision.events] == [("Warning", "Unschedulable")]


def test_a_gang_that_a_queue_holds_back_is_queued_and_its_leaving_pods_are_no_failure() -> None:
    job = while_training()
    held = replace(GANG, is_suspended=True)

    decision = look(job, Observed(jobs=(held,), pods=ranks(gone_at=at(60))))

    assert (decision.status.phase, decision.status.attempt) == (Phase.QUEUED, 1)
    assert conditions(decision.status)["Scheduled"] == ("False", "Queued")


def test_training_begins_when_every_rank_runs() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)

    half = look(job, Observed(jobs=(GANG,), pods=ranks(num=1)))
    whole = look(job, Observed(jobs=(GANG,), pods=ranks(num=2)))

    assert (half.status.phase, conditions(half.status)["Scheduled"]) == (Phase.QUEUED, ("False", "WaitingForGang"))
    assert (whole.status.phase, conditions(whole.status)["Training"]) == (Phase.TRAINING, ("True", "Training"))
    assert conditions(whole.status)["Reconciling"] == ("False", "Training")


def test_a_rank_that_ends_before_the_others_does_not_end_training() -> None:
    job = while_training()

    decision = look(
        job, Observed(jobs=(GANG,), pods=(*ranks(num=1), a_pod(Role.TRAIN, index=1, attempt=1, phase="Succeeded")))
    )

    assert decision.status == job.status


def test_progress_is_written_when_it_is_due_and_not_sooner() -> None:
    job = while_training()
    observed = Observed(jobs=(GANG,), pods=ranks(), progress=a_report(7), seconds_to_progress=5.0)
    job = once(job, observed, seconds=0)

    soon, due = look(job, observed, now=at(9)), look(job, replace(observed, seconds_to_progress=0.0), now=at(10))

    assert soon.status == job.status
    assert due.status.progress is not None
    assert due.status.progress.step == 7


@pytest.mark.parametrize(
    ("save_seconds", "template", "is_told"),
    [
        (49.9, None, False),
        (50.0, None, True),
        (400.0, {"train": {"terminationGracePeriodSeconds": 600}}, False),
        (400.0, {"all": {"terminationGracePeriodSeconds": 300}}, True),
        (None, None, False),
    ],
)
def test_a_checkpoint_that_cannot_be_saved_within_the_grace_period_is_told(
    save_seconds: float | None, template: dict[str, Any] | None, *, is_told: bool
) -> None:
    job = while_training(podTemplate=template)
    checkpoint = CheckpointStatus(step=7, save_seconds=save_seconds)
    answer = Progress(attempt=1, progress=ProgressStatus(stage="Training"), checkpoint=checkpoint)
    report = ProgressReport(attempt=1, progress=answer)

    status = look(job, Observed(jobs=(GANG,), pods=ranks(), progress=report)).status

    assert status.checkpoint == checkpoint
    assert ["terminationGracePeriodSeconds" in one for one in status.warnings] == [True] * is_told


def test_progress_of_an_older_gang_is_not_shown() -> None:
    job = while_training()

    decision = look(job, Observed(jobs=(GANG,), pods=ranks(), progress=a_report(7, attempt=9)))

    assert decision.status == job.status


def test_a_gang_whose_rank_0_answers_without_a_step_for_too_long_is_restarted() -> None:
    job = while_training(stallTimeoutSeconds=60)
    slow, still = (
        Observed(jobs=(GANG,), pods=ranks(), progress=a_report(7, seen_still_seconds=seconds)) for seconds in (59, 60)
    )

    before, after = look(job, slow, now=at(3600)), look(job, still, now=at(3600))

    assert (before.status.attempt, before.delete) == (1, ())
    assert (after.status.attempt, after.status.phase) == (2, Phase.RESTARTING)
    assert conditions(after.status)["Training"] == ("False", "ProgressStalled")
    assert "ProgressKnown" not in conditions(after.status)


def test_a_gang_that_hung_before_this_operator_came_is_restarted_once_it_was_seen_to_stand_still() -> None:
    job = while_training(stallTimeoutSeconds=1800)
    told = [a_report(7, told_still_seconds=1799, seen_still_seconds=seconds) for seconds in (0, 119, 120)]

    attempts = [look(job, Observed(jobs=(GANG,), pods=ranks(), progress=one)).status.attempt for one in told]

    assert attempts == [1, 1, 2]


def test_a_rank_0_that_gives_no_answer_is_told_once_and_left_alone() -> None:
    job = while_training(stallTimeoutSeconds=60)
    silent = ProgressReport(attempt=1, num_unanswered=500, silent_since=0, silence="nothing came within 3 s")
    observed = Observed(jobs=(GANG,), pods=ranks(), progress=silent)

    first = look(job, observed, now=at(60))
    later = look(with_status(job, first.status), observed, now=at(86_400))
    heard = look(with_status(job, first.status), replace(observed, progress=a_report(7)), now=at(86_500))

    known = condition(first.status, ConditionType.PROGRESS_KNOWN)
    assert (known.status, known.reason) == ("False", "NoAnswer")
    assert known.message.startswith("rank 0 gives no answer: nothing came within 3 s. Nothing is restarted for this.")
    assert (later.status, later.delete, later.events) == (first.status, (), ())
    assert conditions(heard.status)["ProgressKnown"] == ("True", "Training")


def test_a_question_without_an_answer_now_and_then_changes_nothing() -> None:
    job = while_training()
    report = a_report(7, num_unanswered=2, silent_since=0)

    decision = look(job, Observed(jobs=(GANG,), pods=ranks(), progress=report, seconds_to_progress=5.0))

    assert decision.status == job.status


def test_a_registry_that_is_away_for_minutes_does_not_end_a_job_with_checkpoints() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)
    pods = (*ranks(num=1), a_pod(Role.TRAIN, index=1, attempt=1))
    trouble = Trouble(pod_uid=pods[1].uid, reason=Reason.IMAGE_UNAVAILABLE, message="429 from the registry", since=T0)
    observed = Observed(jobs=(GANG,), pods=pods, troubles=(trouble,))

    patient, late = look(job, observed, now=at(1799)), look(job, observed, now=at(1800))

    assert (patient.status.phase, patient.requeue_after) == (Phase.QUEUED, 1)
    scheduled = condition(patient.status, ConditionType.SCHEDULED)
    assert (scheduled.reason, scheduled.message) == ("ImageUnavailable", "429 from the registry")
    assert [(event.kind, event.reason) for event in patient.events] == [("Warning", "ImageUnavailable")]
    assert (late.status.phase, conditions(late.status)["Training"]) == (Phase.FAILED, ("False", "ImageUnavailable"))


def test_a_pod_that_is_not_made_says_why_and_ends_nothing() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)
    pods = ranks("Pending")
    trouble = Trouble(pod_uid=pods[0].uid, reason=Reason.POD_NOT_STARTED, message="no such volume", since=T0)

    decision = look(job, Observed(jobs=(GANG,), pods=pods, troubles=(trouble,)), now=at(7200))

    assert decision.status.phase == Phase.QUEUED
    assert condition(decision.status, ConditionType.SCHEDULED).message == "no such volume"


def test_a_gang_that_the_api_server_does_not_take_waits_and_says_why() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)

    decision = look(job, replace(PREPARED, obstacle="exceeded quota: count/jobs.batch=0"))

    assert kinds(decision)[-1] == f"Job/{BASE}-train-1"
    scheduled = condition(decision.status, ConditionType.SCHEDULED)
    assert (scheduled.reason, scheduled.message) == ("Blocked", "exceeded quota: count/jobs.batch=0")


def test_pods_whose_job_was_deleted_without_them_are_deleted() -> None:
    job = with_status(a_job(), look(while_training(), Observed(pods=ranks())).status)

    decision = look(job, Observed(pods=ranks()))

    assert (job.status.phase, job.status.attempt) == (Phase.RESTARTING, 2)
    assert decision.delete == tuple(Deletion(kind="Pod", name=pod.name, uid=pod.uid) for pod in ranks())


def test_a_lost_rank_raises_the_attempt_and_charges_the_budget_in_one_write() -> None:
    job = while_training()
    pods = (*ranks(num=1), a_pod(Role.TRAIN, index=1, attempt=1, phase="Failed", containers=ended(137)))

    decision = look(job, Observed(jobs=(GANG,), pods=pods), now=at(60))

    assert (decision.status.phase, decision.status.attempt) == (Phase.RESTARTING, 2)
    assert (decision.status.restarts.infrastructure, decision.status.restarts.user_errors) == (1, 0)
    assert decision.delete == (DELETE_GANG,)
    assert decision.apply == ()
    assert [(event.kind, event.reason) for event in decision.events] == [("Warning", "RankKilled")]


def test_a_restart_names_the_step_it_goes_on_from() -> None:
    job = while_training()
    status = job.status.model_copy(update={"checkpoint": CheckpointStatus(step=300)})
    failed = a_pod(Role.TRAIN, index=1, attempt=1, phase="Failed", containers=ended(137))

    decision = look(with_status(job, status), Observed(jobs=(GANG,), pods=(*ranks(num=1), failed)), now=at(60))

    assert decision.events[0].note.startswith(
        "attempt 2 begins from step 300, because rank 1 (pod train-1-1 on node-1)"
    )


def test_a_failure_is_not_acted_on_before_an_earlier_one_had_time_to_show() -> None:
    job = while_training()
    lonely = a_pod(Role.TRAIN, attempt=1, phase="Failed", containers=ended(18, a_result(Role.TRAIN, Reason.PEER_LOST)))
    first = Observed(jobs=(GANG,), pods=(lonely, a_pod(Role.TRAIN, index=1, attempt=1, phase="Running")))
    cause = a_pod(Role.TRAIN, index=1, attempt=1, phase="Failed", containers=ended(137, reason="OOMKilled"))

    early = look(job, first, now=at(5))
    later = look(job, Observed(jobs=(GANG,), pods=(lonely, cause)), now=at(6))

    assert (early.status, early.requeue_after) == (job.status, 10)
    assert conditions(later.status)["Training"] == ("False", "OutOfMemory")


def test_the_next_gang_waits_until_the_last_pod_of_the_one_before_is_gone() -> None:
    job = once(while_training(), LOST_GANG, seconds=60)

    going = look(job, Observed(pods=ranks(gone_at=at(90), num=1)), now=at(61))
    gone = look(job, Observed(), now=at(62))

    assert (going.apply, going.delete, going.status.phase) == ((), (), Phase.RESTARTING)
    assert kinds(gone)[-1] == f"Job/{BASE}-train-2"
    assert gone.status.attempt == 2


def test_the_reason_of_the_last_restart_is_shown_until_the_next_gang_runs() -> None:
    job = once(while_training(), LOST_GANG, seconds=60)

    queued = look(job, Observed(), now=at(62))

    assert conditions(queued.status)["Training"] == ("False", "RankKilled")


def test_a_gang_that_is_not_the_first_to_be_lost_is_replaced_after_a_while() -> None:
    job = with_restarts(while_training(), RestartCounts(user_errors=1, infrastructure=1, total=2, without_progress=2))

    lost = look(job, LOST_GANG, now=at(60))
    waiting = with_status(job, lost.status)
    early, late = look(waiting, Observed(), now=at(75)), look(waiting, Observed(), now=at(80))

    assert lost.status.restarts == RestartCounts(
        user_errors=1, infrastructure=2, total=3, without_progress=3, last_time="2026-11-23T09:01:00Z"
    )
    assert lost.events[0].note.startswith("attempt 2 begins from the start after 20 s, because rank 0")
    assert (early.status, early.apply, early.requeue_after) == (lost.status, (), 5)
    assert kinds(late)[-1] == f"Job/{BASE}-train-2"


def test_a_preempted_gang_is_replaced_at_once_however_many_were_lost_before_the_newest_checkpoint() -> None:
    before = RestartCounts(infrastructure=9, without_progress=9, last_time="2026-11-23T08:00:00Z")
    job = with_checkpoint(with_restarts(while_training(), before), 100)
    job = once(job, PREEMPTED_GANG, seconds=60)

    decision = look(job, Observed(), now=at(61))

    assert kinds(decision)[-1] == f"Job/{BASE}-train-2"


def test_gangs_that_are_preempted_before_they_save_anything_come_ever_later() -> None:
    before = RestartCounts(without_progress=3, last_time="2026-11-23T08:00:00Z")
    job = once(with_restarts(while_training(), before), PREEMPTED_GANG, seconds=60)

    early, late = look(job, Observed(), now=at(99)), look(job, Observed(), now=at(100))

    assert (early.apply, early.requeue_after) == ((), 1)
    assert kinds(late)[-1] == f"Job/{BASE}-train-2"


def test_a_checkpoint_that_goes_further_gives_the_budgets_back() -> None:
    spent = RestartCounts(infrastructure=10, user_errors=1, total=11, without_progress=11, checkpoint_step=200)
    job = with_restarts(while_training(), spent)

    same, further = (look(with_checkpoint(job, step), LOST_GANG, now=at(60)).status for step in (200, 201))

    assert (same.phase, conditions(same)["Training"]) == (Phase.FAILED, ("False", "RankKilled"))
    assert further.phase == Phase.RESTARTING
    assert further.restarts == RestartCounts(
        infrastructure=1, total=12, without_progress=1, checkpoint_step=201, last_time="2026-11-23T09:01:00Z"
    )


@pytest.mark.parametrize(("step", "phase"), [(7, Phase.FAILED), (8, Phase.RESTARTING)])
def test_two_gangs_that_hang_at_the_same_step_end_the_job_whatever_the_budget_has_left(step: int, phase: Phase) -> None:
    job = once(while_training(), stalled(7, attempt=1), seconds=1800)
    job = once(job, Observed(jobs=(a_child(Role.TRAIN, attempt=2),), pods=ranks(attempt=2)), seconds=1900)

    decision = look(job, stalled(step, attempt=2), now=at(3700))

    assert (decision.status.phase, conditions(decision.status)["Training"]) == (phase, ("False", "ProgressStalled"))
    told = condition(decision.status, ConditionType.SUCCEEDED).message.startswith(
        "attempts 1 and 2 were lost in the same way, without a step in between; the last cause was: rank 0 answers, "
        "but has shown no new step for 1800 s."
    )
    assert told == (phase == Phase.FAILED)


def test_two_gangs_whose_ranks_are_killed_before_the_first_step_go_on() -> None:
    job = once(while_training(), LOST_GANG, seconds=60)
    running = Observed(jobs=(a_child(Role.TRAIN, attempt=2),), pods=ranks(attempt=2))
    job = once(job, running, seconds=61)

    decision = look(job, replace(running, pods=ranks("Failed", attempt=2, containers=ended(137))), now=at(120))

    assert (decision.status.phase, decision.status.attempt) == (Phase.RESTARTING, 3)


def test_where_rank_0_cannot_be_asked_nobody_knows_whether_steps_were_made() -> None:
    crashed = ended(19, a_result(Role.TRAIN, Reason.TRAINER_ERROR))
    job = while_training(retry={"userErrors": 9})
    job = once(job, Observed(jobs=(GANG,), pods=ranks("Failed", containers=crashed)), seconds=60)
    silent = ProgressReport(attempt=2, num_unanswered=500, silent_since=0, silence="nothing came within 3 s")
    running = Observed(jobs=(a_child(Role.TRAIN, attempt=2),), pods=ranks(attempt=2), progress=silent)
    job = once(job, running, seconds=61)

    decision = look(job, replace(running, pods=ranks("Failed", attempt=2, containers=crashed)), now=at(999))

    assert (decision.status.phase, decision.status.attempt) == (Phase.RESTARTING, 3)


def test_a_node_on_which_hardware_failed_is_told_and_avoided_for_a_day() -> None:
    failed = a_pod(Role.TRAIN, index=1, attempt=1, phase="Failed", containers=ended(128, reason="StartError"))
    job = once(while_training(), Observed(jobs=(GANG,), pods=(*ranks(num=1), failed)), seconds=60)

    soon, later = look(job, Observed(), now=at(86_459)), look(job, Observed(), now=at(86_460))

    avoided = AvoidedNode(name="node-1", reason="NodeFault", time="2026-11-23T09:01:00Z")
    assert (job.status.avoided_nodes, soon.status.avoided_nodes, later.status.avoided_nodes) == (
        [avoided],
        [avoided],
        [],
    )
    affinities = [decision.apply[-1]["spec"]["template"]["spec"]["affinity"] for decision in (soon, later)]
    (wish,) = affinities[0]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    expression = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-1"]}
    assert wish == {"weight": 100, "preference": {"matchExpressions": [expression]}}
    assert [sorted(affinity) for affinity in affinities] == [["nodeAffinity", "podAntiAffinity"], ["podAntiAffinity"]]


def test_a_node_that_a_clock_far_ahead_has_noted_is_forgotten_once_the_clock_is_right() -> None:
    ahead = AvoidedNode(name="node-1", reason="NodeFault", time="2027-11-23T09:01:00Z")
    job = with_status(while_training(), while_training().status.model_copy(update={"avoided_nodes": [ahead]}))
    job = once(job, Observed(), seconds=60)

    assert look(job, Observed(), now=at(61)).status.avoided_nodes == []


def test_a_node_is_avoided_once_and_of_many_the_last_ones() -> None:
    status = while_training().status
    for number in (*range(20), 19):
        failure = Failure(reason=Reason.NODE_FAULT, message="", node=f"node-{number}")
        status = with_fault(status, failure, at(number))

    assert [node.name for node in status.avoided_nodes] == [f"node-{number}" for number in range(4, 20)]


def test_the_gang_that_was_lost_last_is_told_with_its_node_its_rank_and_its_step() -> None:
    job = while_training()
    words = a_result(Role.TRAIN, Reason.TRAINER_ERROR, "boom", failed_rank=1, last_lines=["Traceback", "boom"])
    failed = a_pod(Role.TRAIN, index=1, attempt=1, phase="Failed", containers=ended(19, words))
    observed = Observed(jobs=(GANG,), pods=(*ranks(num=1), failed), progress=a_report(7))

    decision = look(job, observed, now=at(60))

    assert decision.status.last_failure == LostAttempt(
        attempt=1,
        reason="TrainerError",
        time="2026-11-23T09:01:00Z",
        step=7,
        rank=1,
        node="node-1",
        lines=["Traceback", "boom"],
    )


def test_suspending_and_resuming_does_not_shorten_the_wait() -> None:
    job = once(with_restarts(while_training(), RestartCounts(without_progress=4)), LOST_GANG, seconds=60)
    suspended = once(with_status(a_job(suspend=True), job.status), Observed(), seconds=61)

    resumed = look(with_status(a_job(), suspended.status), Observed(), now=at(62))

    assert (resumed.status.phase, resumed.apply, resumed.requeue_after) == (Phase.RESTARTING, (), 78)
    message = "attempt 2 waits, because gangs before it were lost one after another"
    assert condition(resumed.status, ConditionType.SUCCEEDED).message == message


def test_a_pod_on_a_silent_node_is_removed_by_force_thirty_seconds_after_its_grace_period() -> None:
    job = while_training()
    lost = Observed(jobs=(GANG,), pods=ranks(gone_at=at(60), disruption="DeletionByTaintManager"))
    job = with_status(job, look(job, lost, now=at(0)).status)
    stuck = ranks(gone_at=at(60), num=1, is_unheard=True)
    going = replace(GANG, is_deleting=True)

    waiting = look(job, Observed(jobs=(going,), pods=stuck), now=at(70))
    forcing = look(job, Observed(jobs=(going,), pods=stuck), now=at(90))

    assert (waiting.delete, waiting.requeue_after) == ((), 20)
    assert forcing.delete == (Deletion(kind="Pod", name="train-1-0", uid="uid-train-1-0", is_forced=True),)


@pytest.mark.parametrize("reason", [Reason.NON_FINITE_LOSS, Reason.STORAGE_FULL, Reason.BAD_SAMPLES])
def test_what_another_attempt_cannot_mend_fails_at_once(reason: Reason) -> None:
    job = while_training()
    pods = ranks("Failed", containers=ended(15, a_result(Role.TRAIN, reason, "words")))

    decision = look(job, Observed(jobs=(GANG,), pods=pods), now=at(60))

    assert (decision.status.phase, decision.status.attempt) == (Phase.FAILED, 1)
    assert conditions(decision.status)["Training"] == ("False", reason.value)


def test_a_used_up_budget_fails_the_job_with_the_last_cause() -> None:
    job = while_training(retry={"userErrors": 0})
    pods = ranks("Failed", containers=ended(19, a_result(Role.TRAIN, Reason.TRAINER_ERROR, "ValueError: boom")))

    decision = look(job, Observed(jobs=(GANG,), pods=pods), now=at(60))

    summary = condition(decision.status, ConditionType.SUCCEEDED)
    assert (decision.status.phase, summary.reason) == (Phase.FAILED, "TrainerError")
    assert summary.message == (
        "spec.retry.userErrors is used up; the last cause was: rank 0: ValueError: boom. "
        "Log: logs/attempt-1/rank-0.log on claim qwen-666ff6cc-workspace"
    )


def test_an_announced_preemption_costs_no_budget() -> None:
    job = while_training(retry={"userErrors": 0, "infrastructure": 0})

    decision = look(job, PREEMPTED_GANG, now=at(60))

    assert (decision.status.phase, decision.status.attempt) == (Phase.RESTARTING, 2)
    assert decision.status.restarts == RestartCounts(without_progress=1, last_time="2026-11-23T09:01:00Z")


def test_a_deleted_train_job_is_a_lost_gang_and_not_one_to_make_again() -> None:
    job = while_training()

    decision = look(job, Observed(), now=at(60))

    assert (decision.status.attempt, decision.status.restarts.total) == (2, 0)
    assert conditions(decision.status)["Training"] == ("False", "Preempted")


def test_a_train_job_that_was_deleted_while_it_waited_is_made_again_under_a_new_number() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)
    job = once(job, Observed(jobs=(GANG,), pods=ranks("Pending")), seconds=1)

    lost = look(job, Observed(), now=at(60))
    again = look(with_status(job, lost.status), Observed(), now=at(60))

    assert (job.status.phase, lost.status.attempt) == (Phase.QUEUED, 2)
    assert kinds(again)[-1] == f"Job/{BASE}-train-2"


def test_pods_that_a_train_job_left_behind_before_it_ran_go_before_the_next_is_made() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)

    lost = look(job, Observed(pods=ranks(num=1)), now=at(60))
    left = look(with_status(job, lost.status), Observed(pods=ranks(num=1)), now=at(61))

    assert (lost.status.phase, lost.status.attempt) == (Phase.RESTARTING, 2)
    orphan = ranks(num=1)[0]
    assert lost.delete == left.delete == (Deletion(kind="Pod", name=orphan.name, uid=orphan.uid),)


def test_pods_that_a_train_job_left_behind_go_when_its_job_is_suspended() -> None:
    job = with_status(a_job(suspend=True), while_training().status)

    decision = look(job, Observed(pods=ranks()), now=at(60))

    assert (decision.status.phase, decision.status.attempt) == (Phase.SUSPENDED, 2)
    assert [item.kind for item in decision.delete] == ["Pod", "Pod"]


def test_a_gang_that_was_decided_on_but_never_made_is_made_after_a_crash() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)

    decision = look(job, PREPARED)

    assert kinds(decision)[-1] == f"Job/{BASE}-train-1"
    assert decision.status == job.status


def test_a_lost_status_is_found_again_in_the_children() -> None:
    observed = Observed(jobs=(*PREPARED.jobs, a_child(Role.TRAIN, attempt=3)), pods=ranks(attempt=3))

    decision = look(a_job(), observed)

    assert (decision.status.phase, decision.status.attempt) == (Phase.TRAINING, 3)
    assert (decision.apply, decision.delete) == ((), ())


def test_suspending_removes_the_gang_and_charges_nothing() -> None:
    job = while_training()
    job = with_status(a_job(suspend=True), job.status)

    decision = look(job, Observed(jobs=(GANG,), pods=ranks()), now=at(60))

    assert (decision.status.phase, decision.delete) == (Phase.SUSPENDED, (DELETE_GANG,))
    assert decision.status.restarts == job.status.restarts
    assert conditions(decision.status)["Training"] == ("False", "Suspended")


def test_a_suspended_job_stays_as_it_is() -> None:
    job = with_status(a_job(suspend=True), while_training().status)
    first = look(job, Observed(jobs=(GANG,), pods=ranks()), now=at(60))

    again = look(with_status(job, first.status), Observed(), now=at(600))

    assert again.status == first.status
    assert (again.apply, again.delete) == ((), ())


def test_resuming_goes_on_with_the_next_attempt() -> None:
    suspended = with_status(a_job(suspend=True), while_training().status)
    status = look(suspended, Observed(jobs=(GANG,), pods=ranks()), now=at(60)).status

    decision = look(with_status(a_job(), status), Observed(), now=at(600))

    assert kinds(decision)[-1] == f"Job/{BASE}-train-2"
    assert decision.status.phase == Phase.QUEUED


def test_a_gang_that_is_trained_is_published_and_goes_though_sidecars_run_on() -> None:
    job = while_training()
    pods = ranks("Succeeded", containers=ended(0, a_result(Role.TRAIN, Reason.TRAINED)))

    decision = look(job, Observed(jobs=(GANG,), pods=tuple(beside_a_sidecar(pod) for pod in pods)), now=at(60))

    assert (decision.status.phase, kinds(decision)[-1]) == (Phase.PUBLISHING, f"Job/{BASE}-publish")
    assert decision.delete == (DELETE_GANG,)


def test_a_sidecar_that_fails_breaks_no_gang() -> None:
    job = while_training()

    running = look(job, Observed(jobs=(GANG,), pods=tuple(beside_a_sidecar(pod, 1) for pod in ranks())), now=at(60))
    done = ranks("Succeeded", containers=ended(0, a_result(Role.TRAIN, Reason.TRAINED)))
    failed = replace(GANG, is_failed=True, finished_at=T0)
    trained = look(job, Observed(jobs=(failed,), pods=tuple(beside_a_sidecar(pod, 1) for pod in done)), now=at(60))

    assert (running.status, running.delete) == (job.status, ())
    assert trained.status.phase == Phase.PUBLISHING


def test_a_rank_that_ended_beside_a_sidecar_waits_for_the_others() -> None:
    job = while_training()
    ended_rank = beside_a_sidecar(a_pod(Role.TRAIN, index=1, attempt=1, phase="Succeeded", containers=ended(0)))

    decision = look(job, Observed(jobs=(GANG,), pods=(*ranks(num=1), ended_rank)))

    assert (decision.status, decision.delete) == (job.status, ())


def test_the_deadline_fails_the_job_and_frees_its_accelerators() -> None:
    job = while_training(activeDeadlineSeconds=100)
    observed = Observed(jobs=(GANG,), pods=ranks())

    before, after = look(job, observed, now=at(99)), look(job, observed, now=at(100))

    assert (before.status, before.requeue_after) == (job.status, 1.0)
    assert (after.status.phase, after.delete) == (Phase.FAILED, (DELETE_GANG,))
    assert conditions(after.status)["Succeeded"] == ("False", "DeadlineExceeded")
    assert conditions(after.status)["Training"] == ("False", "DeadlineExceeded")


def test_the_deadline_counts_the_time_of_training_and_no_suspension() -> None:
    job = while_training(activeDeadlineSeconds=100)
    suspended = job.model_copy(update={"spec": job.spec.model_copy(update={"suspend": True})})
    held = once(suspended, Observed(jobs=(GANG,), pods=ranks()), seconds=50)
    second = Observed(jobs=(a_child(Role.TRAIN, attempt=2),), pods=ranks(attempt=2))

    resumed = look(with_status(job, held.status), PREPARED, now=at(5000))
    running = look(with_status(job, resumed.status), second, now=at(6000))
    over = look(with_status(job, running.status), second, now=at(6050))

    assert (held.status.start_time, held.status.trained_seconds, held.status.training_time) == (None, 50, None)
    assert resumed.status.start_time == "2026-11-23T10:23:20Z"
    assert (running.status.training_time, running.requeue_after) == ("2026-11-23T10:40:00Z", 50)
    assert conditions(over.status)["Succeeded"] == ("False", "DeadlineExceeded")


def test_a_trained_model_is_published_with_its_final_numbers_in_the_status() -> None:
    job = while_training()
    result = a_result(Role.TRAIN, Reason.TRAINED, metrics=MetricsStatus(score=0.912345678, baseline_score=0.5))
    pods = ranks("Succeeded", containers=ended(0, result))

    decision = look(job, Observed(jobs=(replace(GANG, is_complete=True),), pods=pods), now=at(60))

    assert (decision.status.phase, kinds(decision)[-1]) == (Phase.PUBLISHING, f"Job/{BASE}-publish")
    assert decision.status.metrics == MetricsStatus(score=0.912346, baseline_score=0.5)
    assert decision.status.progress is not None
    assert (decision.status.progress.percent, decision.status.progress.stage) == (100, "Done")
    assert conditions(decision.status)["Training"] == ("False", "Trained")


def test_all_ranks_having_succeeded_counts_before_the_job_says_so() -> None:
    job = while_training()

    decision = look(job, Observed(jobs=(GANG,), pods=ranks("Succeeded", containers=ended(0))), now=at(60))

    assert decision.status.phase == Phase.PUBLISHING
