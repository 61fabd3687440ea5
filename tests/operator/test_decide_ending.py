"""decide, from a trained model to the end and after it."""

from dataclasses import replace

import pytest

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import Phase, PublishedStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.decision import Decision
from finetune_operator.core.observed import Observed
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
    conditions,
    ended,
    kinds,
    look,
    ranks,
    while_training,
    with_status,
)


def with_publish(*, phase: str, result: Reason, code: int = 0, published: PublishedStatus | None = None) -> Observed:
    words = a_result(Role.PUBLISH, result, "its words", published=published)
    pod = a_pod(Role.PUBLISH, phase=phase, containers=ended(code, words))
    child = a_child(Role.PUBLISH, is_complete=phase == "Succeeded", is_failed=phase == "Failed")
    return Observed(jobs=(*TRAINED.jobs, child), pods=(*TRAINED.pods, pod))


def trained(**spec: object) -> FinetuneJob:
    job = while_training(**spec)
    return with_status(job, look(job, TRAINED).status)


@pytest.mark.parametrize(
    ("result", "published"),
    [
        (Reason.PUBLISHED, "True"),
        (Reason.ALREADY_PUBLISHED, "True"),
        (Reason.GATE_NOT_MET, "False"),
        (Reason.MODEL_UNCHANGED, "False"),
        (Reason.PUBLISH_SKIPPED, "False"),
    ],
)
def test_every_good_end_of_publish_succeeds_and_tells_what_is_on_the_hub(result: Reason, published: str) -> None:
    decision = look(trained(), with_publish(phase="Succeeded", result=result))

    found = conditions(decision.status)
    assert decision.status.phase == Phase.SUCCEEDED
    assert found["Published"] == (published, result.value)
    assert found["Succeeded"] == found["Finished"] == ("True", result.value)
    assert found["Stalled"] == ("False", result.value)
    assert decision.status.completion_time == "2026-11-23T09:00:00Z"


def test_the_commit_goes_into_the_status() -> None:
    commit = PublishedStatus(repository="acme/better", commit="0123", tag="t", url="u")

    decision = look(trained(), with_publish(phase="Succeeded", result=Reason.PUBLISHED, published=commit))

    assert decision.status.published == commit


def test_a_refused_publish_fails_the_job_with_its_reason() -> None:
    decision = look(trained(), with_publish(phase="Failed", result=Reason.WRITE_FORBIDDEN, code=13))

    assert decision.status.phase == Phase.FAILED
    assert conditions(decision.status)["Published"] == ("False", "WriteForbidden")


def test_without_publish_the_job_is_complete_after_training() -> None:
    decision = look(while_training(publish=None), TRAINED)

    assert (decision.status.phase, decision.apply) == (Phase.SUCCEEDED, ())
    assert conditions(decision.status)["Published"] == ("False", "Completed")


def test_a_trained_job_whose_train_job_was_deleted_goes_on_to_publish() -> None:
    job = trained()

    decision = look(job, PREPARED)

    assert kinds(decision)[-1] == f"Job/{BASE}-publish"


def test_a_finished_job_stays_finished_when_all_its_children_are_gone() -> None:
    job = trained()
    job = with_status(job, look(job, with_publish(phase="Succeeded", result=Reason.PUBLISHED)).status)

    decision = look(job, Observed(), now=at(10_000))

    assert decision.status == job.status
    assert (decision.apply, decision.delete, decision.events) == ((), (), ())


def test_a_failed_job_leaves_its_failed_pods_for_their_logs_but_not_for_long() -> None:
    job = while_training()
    failed = a_pod(
        Role.TRAIN,
        index=1,
        attempt=1,
        phase="Failed",
        containers=ended(15, a_result(Role.TRAIN, Reason.NON_FINITE_LOSS)),
    )
    observed = Observed(jobs=(a_child(Role.TRAIN, attempt=1),), pods=(*ranks(num=1), failed))
    first = look(job, observed, now=at(10))

    soon = look(with_status(job, first.status), observed, now=at(20))
    late = look(with_status(job, first.status), observed, now=at(40))

    assert (first.status.phase, first.delete, first.requeue_after) == (Phase.FAILED, (), 30)
    assert soon.delete == ()
    assert [item.name for item in late.delete] == [f"{BASE}-train-1"]


def removed(decision: Decision) -> list[str]:
    return [f"{item.kind}/{item.name}" for item in decision.delete]


JOBS = [f"Job/{BASE}-prepare", f"Job/{BASE}-train-1", f"Job/{BASE}-publish"]
UNWATCHED = [f"Service/{BASE}-ranks", f"ConfigMap/{CONFIG}"]
CLAIM = f"PersistentVolumeClaim/{BASE}-workspace"


def test_after_the_ttl_everything_of_a_published_job_goes() -> None:
    job = trained(ttlSecondsAfterFinished=60)
    done = with_publish(phase="Succeeded", result=Reason.PUBLISHED)
    job = with_status(job, look(job, done).status)

    before, after = look(job, done, now=at(59)), look(job, done, now=at(60))

    assert (before.delete, before.requeue_after) == ((), 1.0)
    assert removed(after) == [*UNWATCHED, CLAIM, *JOBS]


@pytest.mark.parametrize(
    ("phase", "result"),
    [
        ("Succeeded", Reason.GATE_NOT_MET),
        ("Succeeded", Reason.PUBLISH_SKIPPED),
        ("Failed", Reason.WRITE_FORBIDDEN),
        ("Failed", Reason.HUB_UNAVAILABLE),
    ],
)
def test_the_ttl_leaves_the_only_copy_of_a_model_that_was_not_published(phase: str, result: Reason) -> None:
    job = trained(ttlSecondsAfterFinished=60)
    done = with_publish(phase=phase, result=result, code=13 if phase == "Failed" else 0)
    job = with_status(job, look(job, done).status)

    assert removed(look(job, done, now=at(60))) == [*UNWATCHED, *JOBS]


def test_a_publish_job_whose_pod_was_gone_before_it_was_read_runs_once_more_before_the_end_is_told() -> None:
    job = trained()
    lost = Observed(jobs=(*TRAINED.jobs, a_child(Role.PUBLISH, is_complete=True, finished_at=T0)), pods=TRAINED.pods)

    again = look(job, lost, now=at(50))
    made = look(with_status(job, again.status), TRAINED, now=at(60))
    done = look(with_status(job, made.status), with_publish(phase="Succeeded", result=Reason.ALREADY_PUBLISHED))

    assert [item.name for item in again.delete] == [f"{BASE}-publish"]
    assert (again.status.phase, conditions(again.status)["Published"]) == (Phase.PUBLISHING, ("Unknown", "Restarting"))
    assert kinds(made)[-1] == f"Job/{BASE}-publish"
    assert conditions(made.status)["Published"] == ("Unknown", "Restarting")
    assert (done.status.phase, conditions(done.status)["Published"]) == (Phase.SUCCEEDED, ("True", "AlreadyPublished"))


def test_the_ttl_leaves_the_volume_when_nobody_knows_whether_the_model_was_published() -> None:
    job = trained(ttlSecondsAfterFinished=60)
    lost = Observed(jobs=(*TRAINED.jobs, a_child(Role.PUBLISH, is_complete=True, finished_at=T0)), pods=TRAINED.pods)
    job = with_status(job, look(job, lost, now=at(50)).status)
    job = with_status(job, look(job, lost, now=at(60)).status)

    decision = look(job, lost, now=at(1000))

    assert conditions(decision.status)["Published"] == ("Unknown", "Completed")
    assert removed(decision) == [*UNWATCHED, *JOBS]


def test_the_ttl_leaves_the_volume_of_a_job_that_publishes_nothing_and_of_one_that_failed() -> None:
    kept = while_training(publish=None, ttlSecondsAfterFinished=0)
    failing = while_training(ttlSecondsAfterFinished=0, retry={"userErrors": 0})
    nan = ended(15, a_result(Role.TRAIN, Reason.NON_FINITE_LOSS))
    lost = Observed(jobs=(a_child(Role.TRAIN, attempt=1),), pods=ranks("Failed", containers=nan))

    for decision in (look(kept, TRAINED), look(failing, lost, now=at(60))):
        assert removed(decision)
        assert CLAIM not in removed(decision)


def test_the_ttl_never_removes_a_claim_of_the_users_own() -> None:
    job = trained(ttlSecondsAfterFinished=0, storage={"existingClaim": "mine"})

    decision = look(job, with_publish(phase="Succeeded", result=Reason.PUBLISHED))

    assert "PersistentVolumeClaim" not in {item.kind for item in decision.delete}


def test_the_ttl_leaves_a_volume_that_another_job_names() -> None:
    job = trained(ttlSecondsAfterFinished=0)
    job = with_status(job, look(job, with_publish(phase="Succeeded", result=Reason.PUBLISHED)).status)

    assert removed(look(job, Observed(is_claim_shared=True), now=at(100))) == UNWATCHED


def test_the_ttl_removes_what_is_left_when_somebody_has_removed_the_jobs_already() -> None:
    job = trained(ttlSecondsAfterFinished=0)
    job = with_status(job, look(job, with_publish(phase="Succeeded", result=Reason.PUBLISHED)).status)

    decision = look(job, Observed(), now=at(100))

    assert removed(decision) == [*UNWATCHED, CLAIM]


def test_once_nothing_is_left_to_remove_that_is_noted_and_nothing_is_tried_again() -> None:
    job = trained(ttlSecondsAfterFinished=0)
    job = with_status(job, look(job, with_publish(phase="Succeeded", result=Reason.PUBLISHED)).status)

    noted = look(job, Observed(is_cleared=True), now=at(100))
    later = look(with_status(job, noted.status), Observed(), now=at(1000))

    assert (noted.status.cleanup_time, noted.delete) == ("2026-11-23T09:01:40Z", ())
    assert (later.status, later.delete, later.requeue_after) == (noted.status, (), None)


def test_a_changed_generation_of_a_finished_job_is_acknowledged_and_nothing_else() -> None:
    job = while_training(publish=None)
    job = with_status(job, look(job, TRAINED).status)
    edited = job.model_copy(update={"metadata": job.metadata.model_copy(update={"generation": 2})})

    decision = look(edited, TRAINED, now=at(100))

    assert decision.status == job.status.model_copy(update={"observed_generation": 2})
    assert decision.events == ()


def test_a_gang_left_running_by_a_crash_is_removed_from_a_finished_job() -> None:
    job = while_training(activeDeadlineSeconds=1)
    gang = a_child(Role.TRAIN, attempt=1)
    failed = with_status(job, look(job, Observed(jobs=(gang,), pods=ranks()), now=at(10)).status)

    decision = look(failed, Observed(jobs=(gang,), pods=ranks()), now=at(11))
    going = look(failed, Observed(jobs=(replace(gang, is_deleting=True),), pods=ranks(gone_at=at(70))), now=at(12))

    assert [item.name for item in decision.delete] == [f"{BASE}-train-1"]
    assert (going.delete, going.requeue_after) == ((), 88)


def test_start_time_is_the_first_visit() -> None:
    assert look(a_job(), now=T0).status.start_time == "2026-11-23T09:00:00Z"
