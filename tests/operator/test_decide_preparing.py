"""decide, from the first visit until inputs are validated."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_api.contract import Progress, Role
from finetune_api.reasons import Reason
from finetune_api.status import (
    ConditionType,
    DatasetStatus,
    EvaluationScore,
    ModelStatus,
    Phase,
    ProgressStatus,
    PublishedStatus,
)
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Deletion
from finetune_operator.core.observed import ContainerView, Observed, PodView, ProgressReport, Trouble
from tests.operator.given import (
    BASE,
    CONFIG,
    PREPARED,
    T0,
    TRAINED,
    a_child,
    a_job,
    a_pod,
    a_result,
    at,
    beside_a_sidecar,
    condition,
    conditions,
    ended,
    kinds,
    look,
    with_status,
)


def test_a_new_job_gets_its_volume_and_prepare_job_and_nothing_that_costs_an_accelerator() -> None:
    decision = look(a_job())

    assert kinds(decision) == [
        f"ConfigMap/{CONFIG}",
        f"PersistentVolumeClaim/{BASE}-workspace",
        f"Job/{BASE}-prepare",
    ]
    assert [item["metadata"]["name"] for item in decision.rehearse] == [f"{BASE}-train-1"]


def test_of_a_job_that_adds_to_its_pods_every_job_and_every_pod_is_rehearsed() -> None:
    job = a_job(podTemplate={"all": {"runtimeClassName": "nvidia"}})
    stages = ("prepare", "train-1", "publish")

    rehearsed = look(job).rehearse

    assert [f"{item['kind']}/{item['metadata']['name']}" for item in rehearsed] == [
        *(f"Job/{BASE}-{stage}" for stage in stages),
        *(f"Pod/{BASE}-{stage}" for stage in stages),
    ]
    assert rehearsed[3]["spec"] == rehearsed[0]["spec"]["template"]["spec"]


def test_the_first_status_is_complete_and_no_gitops_tool_takes_it_for_healthy() -> None:
    status = look(a_job()).status

    assert (status.phase, status.observed_generation, status.world_size) == (Phase.PREPARING, 1, 2)
    assert status.phase_times == {"Pending": "2026-11-23T09:00:00Z", "Preparing": "2026-11-23T09:00:00Z"}
    assert conditions(status) == {
        "Validated": ("Unknown", "Accepted"),
        "Scheduled": ("Unknown", "Accepted"),
        "Training": ("Unknown", "Accepted"),
        "Published": ("Unknown", "Accepted"),
        "Succeeded": ("Unknown", "Preparing"),
        "Finished": ("False", "Preparing"),
        "Reconciling": ("True", "Preparing"),
        "Stalled": ("False", "Preparing"),
    }


def test_a_job_that_is_on_its_way_posts_no_event() -> None:
    decision = look(a_job())

    message = "model and data are fetched and checked before an accelerator is asked for"
    assert (decision.events, condition(decision.status, ConditionType.SUCCEEDED).message) == ((), message)


def test_a_claim_of_the_users_own_is_used_and_none_is_made() -> None:
    decision = look(a_job(storage={"existingClaim": "mine"}))

    assert kinds(decision) == [f"ConfigMap/{CONFIG}", f"Job/{BASE}-prepare"]


def test_looking_again_while_prepare_runs_changes_nothing() -> None:
    job = with_status(a_job(), look(a_job()).status)
    observed = Observed(jobs=(a_child(Role.PREPARE),), pods=(a_pod(Role.PREPARE, phase="Running"),))

    decision = look(job, observed, now=at(300))

    assert decision.status == job.status
    assert (decision.apply, decision.delete, decision.events) == ((), (), ())


def test_a_prepare_pod_that_a_sidecar_holds_is_done_and_goes() -> None:
    job = with_status(a_job(), look(a_job()).status)
    held = replace(PREPARED, jobs=(a_child(Role.PREPARE),), pods=(beside_a_sidecar(PREPARED.pods[0]),))

    decision = look(job, held)

    assert kinds(decision)[-1] == f"Job/{BASE}-train-1"
    assert decision.delete == (Deletion(kind="Job", name=f"{BASE}-prepare", uid=f"uid-{BASE}-prepare"),)


def test_a_prepare_pod_that_failed_beside_a_sidecar_goes_so_that_its_job_tries_again() -> None:
    job = with_status(a_job(), look(a_job()).status)
    words = a_result(Role.PREPARE, Reason.HUB_UNAVAILABLE, "the Hub answers 503")
    pod = a_pod(Role.PREPARE, phase="Failed", containers=ended(14, words))

    decision = look(job, Observed(jobs=(a_child(Role.PREPARE),), pods=(beside_a_sidecar(pod),)))

    assert decision.status.phase == Phase.PREPARING
    assert decision.delete == (Deletion(kind="Pod", name=pod.name, uid=pod.uid),)


def test_a_prepare_pod_that_failed_for_good_beside_a_sidecar_ends_the_job_in_its_own_words() -> None:
    job = with_status(a_job(), look(a_job()).status)
    words = a_result(Role.PREPARE, Reason.SPLIT_NOT_FOUND, "spec.data.train[0].split: 'tran' is wrong")
    pod = a_pod(Role.PREPARE, phase="Failed", containers=ended(11, words))

    decision = look(job, Observed(jobs=(a_child(Role.PREPARE),), pods=(beside_a_sidecar(pod),)))

    assert decision.status.phase == Phase.FAILED
    assert conditions(decision.status)["Validated"] == ("False", "SplitNotFound")


def test_a_prepare_job_that_its_sidecar_failed_has_done_its_work() -> None:
    job = with_status(a_job(), look(a_job()).status)
    failed = a_child(Role.PREPARE, is_failed=True, finished_at=T0)

    decision = look(job, replace(PREPARED, jobs=(failed,), pods=(beside_a_sidecar(PREPARED.pods[0], 1),)))

    assert kinds(decision)[-1] == f"Job/{BASE}-train-1"


def test_the_schedulers_words_about_the_prepare_pod_are_shown() -> None:
    pod = a_pod(Role.PREPARE, unscheduled="0/2 nodes are available: 2 Insufficient cpu.")

    status = look(a_job(), Observed(jobs=(a_child(Role.PREPARE),), pods=(pod,))).status

    summary = condition(status, ConditionType.SUCCEEDED)
    assert summary.reason == "Unschedulable"
    assert summary.message == "the prepare pod has no node yet: 0/2 nodes are available: 2 Insufficient cpu."


def test_a_pod_that_waits_for_its_volume_for_a_moment_is_no_news() -> None:
    pod = a_pod(Role.PREPARE, unscheduled="pod has unbound immediate PersistentVolumeClaims", unscheduled_since=T0)
    observed = Observed(jobs=(a_child(Role.PREPARE),), pods=(pod,))

    early, late = (look(a_job(), observed, now=at(seconds)) for seconds in (4, 10))

    assert condition(early.status, ConditionType.SUCCEEDED).reason == "Preparing"
    assert (early.events, early.requeue_after) == ((), 6)
    assert condition(late.status, ConditionType.SUCCEEDED).reason == "Unschedulable"
    assert [event.reason for event in late.events] == ["Unschedulable"]


def test_what_prepare_found_goes_into_the_status_with_the_warnings_of_preflight() -> None:
    model, data = ModelStatus(revision="abc", modalities=["text"]), DatasetStatus(name="vdr", revision="d", rows=9)
    preflight = ended(0, a_result(Role.PREFLIGHT, Reason.VALIDATED, warnings=["whoami is missing"]))
    prepare = ended(0, a_result(Role.PREPARE, Reason.VALIDATED, model=model, datasets=[data], warnings=["alias"]))
    pod = a_pod(Role.PREPARE, phase="Succeeded", containers=(*preflight, *prepare))

    status = look(a_job(), Observed(jobs=(a_child(Role.PREPARE, is_complete=True),), pods=(pod,))).status

    assert (status.model, status.datasets, status.warnings) == (model, [data], ["whoami is missing", "alias"])
    assert conditions(status)["Validated"] == ("True", "Validated")


def test_validated_inputs_lead_to_the_first_gang_in_the_same_decision() -> None:
    decision = look(a_job(), PREPARED)

    assert (decision.status.phase, decision.status.attempt) == (Phase.QUEUED, 1)
    assert kinds(decision) == [f"ConfigMap/{CONFIG}", f"Service/{BASE}-ranks", f"Job/{BASE}-train-1"]


@pytest.mark.parametrize("reason", [Reason.COLUMN_NOT_FOUND, Reason.TOKEN_REFUSED, Reason.HUB_UNAVAILABLE])
def test_a_failed_prepare_fails_the_job_with_its_reason_and_words(reason: Reason) -> None:
    pod = a_pod(Role.PREPARE, phase="Failed", containers=ended(11, a_result(Role.PREPARE, reason, "what to do")))

    decision = look(a_job(), Observed(jobs=(a_child(Role.PREPARE, is_failed=True),), pods=(pod,)))

    found = conditions(decision.status)
    assert decision.status.phase == Phase.FAILED
    assert found["Validated"] == found["Succeeded"] == ("False", reason.value)
    assert found["Finished"] == found["Stalled"] == ("True", reason.value)
    assert found["Reconciling"] == ("False", reason.value)
    assert decision.events[0].kind == "Warning"
    assert decision.events[0].note == "what to do. Log: logs/prepare.log on claim qwen-666ff6cc-workspace"


def test_the_last_try_of_prepare_tells_the_reason() -> None:
    first = a_pod(Role.PREPARE, phase="Failed", containers=ended(14, a_result(Role.PREPARE, Reason.HUB_UNAVAILABLE)))
    last = ended(13, a_result(Role.PREPARE, Reason.TOKEN_REFUSED), seconds=60)
    second = a_pod(Role.PREPARE, index=1, phase="Failed", containers=last)

    decision = look(a_job(), Observed(jobs=(a_child(Role.PREPARE, is_failed=True),), pods=(first, second)))

    assert conditions(decision.status)["Validated"] == ("False", "TokenRefused")


def test_a_finished_prepare_job_waits_a_moment_for_its_pods_words() -> None:
    job = with_status(a_job(), look(a_job()).status)
    observed = Observed(jobs=(a_child(Role.PREPARE, is_complete=True, finished_at=T0),))

    soon, late = look(job, observed, now=at(2)), look(job, observed, now=at(20))

    assert (soon.status.phase, soon.requeue_after, soon.apply, soon.delete) == (Phase.PREPARING, 1.0, (), ())
    assert (late.status.phase, late.apply) == (Phase.PREPARING, ())
    assert late.delete == (Deletion(kind="Job", name=f"{BASE}-prepare", uid=f"uid-{BASE}-prepare"),)
    assert condition(late.status, ConditionType.SUCCEEDED).message == (
        "what prepare found was lost with its pod, so it looks once more"
    )


def test_a_run_that_is_published_already_ends_without_a_gang() -> None:
    published = PublishedStatus(repository="acme/better", commit="c" * 40, tag="finetunejob-1-2", url="https://hub/c")
    score = EvaluationScore(name="held-out", metric="ndcg@10", baseline=0.1, final=0.8)
    said = a_result(Role.PREPARE, Reason.ALREADY_PUBLISHED, "as c", run="1-2", published=published, evaluations=[score])
    pod = a_pod(Role.PREPARE, phase="Succeeded", containers=ended(0, said))

    decision = look(a_job(), Observed(jobs=(a_child(Role.PREPARE, is_complete=True),), pods=(pod,)))

    status = decision.status
    assert (status.phase, status.attempt, status.run) == (Phase.SUCCEEDED, 0, "1-2")
    assert (status.published, status.evaluations) == (published, [score])
    assert decision.apply == ()
    assert conditions(status) == {
        "Validated": ("True", "AlreadyPublished"),
        "Scheduled": ("False", "AlreadyPublished"),
        "Training": ("False", "AlreadyPublished"),
        "Published": ("True", "AlreadyPublished"),
        "Succeeded": ("True", "AlreadyPublished"),
        "Finished": ("True", "AlreadyPublished"),
        "Reconciling": ("False", "AlreadyPublished"),
        "Stalled": ("False", "AlreadyPublished"),
    }
    assert [(event.reason, event.note) for event in decision.events] == [("AlreadyPublished", "as c")]


def test_everything_wrong_with_the_spec_is_told_at_once() -> None:
    job = a_job(resources={"nodes": 1, "requests": {"memory": "2Gi"}, "sharedMemory": "2Gi"})

    decision = look(job)

    summary = condition(decision.status, ConditionType.VALIDATED)
    assert (summary.status, summary.reason) == ("False", "InvalidSpec")
    assert "spec.resources.sharedMemory: '2Gi' is wrong because" in summary.message
    assert (decision.status.phase, decision.apply) == (Phase.FAILED, ())


def test_a_child_that_the_api_server_refuses_fails_the_job_with_the_servers_words() -> None:
    decision = look(a_job(), Observed(rejection="Job x: tolerations[0].operator: Unsupported value"))

    summary = condition(decision.status, ConditionType.SUCCEEDED)
    assert summary.reason == "InvalidSpec"
    assert "tolerations[0].operator: Unsupported value" in summary.message


@pytest.mark.parametrize("reason", [Reason.IMAGE_UNAVAILABLE, Reason.SECRET_NOT_FOUND])
def test_a_pod_that_cannot_start_fails_the_job_after_half_an_hour_and_not_before(reason: Reason) -> None:
    pod = a_pod(Role.PREPARE, containers=(ContainerView(name="prepare", waiting_reason="ErrImagePull"),))
    trouble = Trouble(pod_uid=pod.uid, reason=reason, message="the kubelet's words", since=T0)
    observed = Observed(jobs=(a_child(Role.PREPARE),), pods=(pod,), troubles=(trouble,))

    before, after = look(a_job(), observed, now=at(1790)), look(a_job(), observed, now=at(1800))

    assert (before.status.phase, before.requeue_after) == (Phase.PREPARING, 10)
    assert conditions(after.status)["Validated"] == ("False", reason.value)
    assert after.delete == (Deletion(kind="Job", name=f"{BASE}-prepare", uid=f"uid-{BASE}-prepare"),)


def test_a_prepare_that_is_tried_again_says_what_went_wrong() -> None:
    result = a_result(Role.PREPARE, Reason.HUB_UNAVAILABLE, "the Hub answers 503")
    pods = (a_pod(Role.PREPARE, phase="Failed", containers=ended(75, result)), a_pod(Role.PREPARE, index=1))

    decision = look(a_job(), Observed(jobs=(a_child(Role.PREPARE),), pods=pods))

    assert decision.status.phase == Phase.PREPARING
    assert condition(decision.status, ConditionType.SUCCEEDED).message == (
        "model and data are fetched and checked before an accelerator is asked for; it is tried again, because the Hub "
        "answers 503. Log: logs/prepare.log on claim qwen-666ff6cc-workspace"
    )


@pytest.mark.parametrize(("role", "done"), [(Role.PREPARE, Observed()), (Role.PUBLISH, TRAINED)])
def test_the_pod_of_prepare_or_publish_on_a_silent_node_is_removed_by_force(role: Role, done: Observed) -> None:
    job = with_status(a_job(), look(a_job(), done).status)
    pod = a_pod(role, phase="Running", gone_at=at(60), is_unheard=True)
    observed = Observed(jobs=(*done.jobs, a_child(role)), pods=(*done.pods, pod))

    before, after = look(job, observed, now=at(80)), look(job, observed, now=at(90))

    assert (before.delete, before.requeue_after) == ((), 10)
    assert after.delete == (Deletion(kind="Pod", name=pod.name, uid=pod.uid, is_forced=True),)


READING = ProgressStatus(stage="Reading", dataset="pages", rows=41, total_rows=100, percent=41)
PREPARING = a_pod(Role.PREPARE, phase="Running")


def while_preparing(pod: PodView = PREPARING, **seen: Any) -> Observed:  # noqa: ANN401 - fields of Observed
    """Return what is seen of a prepare that has answered so."""
    report = ProgressReport(attempt=0, pod_uid=PREPARING.uid, progress=Progress(attempt=0, progress=READING))
    return replace(Observed(jobs=(a_child(Role.PREPARE),), pods=(pod,), progress=report), **seen)


def told(job: FinetuneJob, observed: Observed) -> str | None:
    """Return what the status says of progress after a look."""
    progress = look(job, observed).status.progress
    return progress.text if progress is not None else None


def test_how_far_prepare_is_is_written_when_it_is_due_and_not_sooner() -> None:
    job = with_status(a_job(), look(a_job()).status)
    further = Progress(attempt=0, progress=READING.model_copy(update={"rows": 42, "percent": 42}))
    newer = replace(while_preparing().progress or ProgressReport(attempt=0), progress=further)
    first = look(job, while_preparing())

    seen = with_status(job, first.status)
    texts = [
        told(seen, while_preparing(progress=newer, seconds_to_progress=5.0)),
        told(seen, while_preparing(progress=newer)),
    ]

    assert texts == ["Reading 41/100 (41 %)", "Reading 42/100 (42 %)"]
    assert (first.status.phase, first.events, first.status.metrics) == (Phase.PREPARING, (), None)


def test_a_prepare_that_stands_still_or_falls_silent_is_left_alone() -> None:
    job = with_status(a_job(), look(a_job(), while_preparing()).status)
    silent = replace(while_preparing().progress or ProgressReport(attempt=0), silence="no connection")

    for report in (silent, replace(silent, seen_still_seconds=1e6), None):
        assert look(job, while_preparing(progress=report), now=at(7200)).status == job.status


def test_what_a_prepare_pod_said_goes_with_it() -> None:
    job = with_status(a_job(), look(a_job(), while_preparing()).status)
    result = a_result(Role.PREPARE, Reason.HUB_UNAVAILABLE, "the Hub answers 503")
    again = a_pod(Role.PREPARE, index=1, phase="Running")

    assert told(job, while_preparing(replace(PREPARING, phase="Failed", containers=ended(14, result)))) is None
    assert told(with_status(job, look(a_job()).status), while_preparing(again)) is None


def test_how_far_prepare_was_is_not_shown_once_it_has_ended_well_or_not() -> None:
    job = with_status(a_job(), look(a_job(), while_preparing()).status)
    failed = a_pod(Role.PREPARE, phase="Failed", containers=ended(11, a_result(Role.PREPARE, Reason.BAD_SAMPLES)))
    ends = {
        Phase.QUEUED: look(job, replace(PREPARED, progress=while_preparing().progress)),
        Phase.FAILED: look(job, while_preparing(failed, jobs=(a_child(Role.PREPARE, is_failed=True),))),
        Phase.SUSPENDED: look(job.model_copy(update={"spec": a_job(suspend=True).spec}), while_preparing()),
    }

    assert {phase: (end.status.phase, end.status.progress) for phase, end in ends.items()} == {
        phase: (phase, None) for phase in ends
    }


def test_a_suspended_new_job_makes_nothing() -> None:
    decision = look(a_job(suspend=True))

    assert (decision.status.phase, decision.apply) == (Phase.SUSPENDED, ())


def test_a_prepare_job_that_somebody_deletes_is_made_again_once_its_name_is_free() -> None:
    going = look(a_job(), Observed(jobs=(a_child(Role.PREPARE, is_deleting=True),)))
    gone = look(a_job())

    assert (going.apply, going.requeue_after) == ((), 2.0)
    assert kinds(gone)[-1] == f"Job/{BASE}-prepare"
