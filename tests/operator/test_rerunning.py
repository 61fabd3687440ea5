"""A job that has ended runs once more with a new spec.rerun, from what its volume holds."""

from dataclasses import replace

import pytest

from finetune_api.contract import Role, RunConfig
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, EvaluationScore, Phase, RestartCounts
from finetune_api.types import FinetuneJob
from finetune_operator.core.observed import Observed
from tests.operator.given import (
    BASE,
    PREPARED,
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
    while_training,
    with_restarts,
    with_status,
)

REFUSED = Observed(
    jobs=(*TRAINED.jobs, a_child(Role.PUBLISH, is_failed=True)),
    pods=(
        *TRAINED.pods,
        a_pod(Role.PUBLISH, phase="Failed", containers=ended(13, a_result(Role.PUBLISH, Reason.WRITE_FORBIDDEN))),
    ),
)


SCORES = [EvaluationScore(name="held-out", metric="ndcg@10", baseline=0.25, final=0.75)]


def failed(**spec: object) -> FinetuneJob:
    """Return a job whose publishing was refused."""
    job = with_restarts(while_training(**spec), RestartCounts(infrastructure=3, total=3))
    job = with_status(job, look(job, TRAINED).status)
    return with_status(job, look(job, REFUSED).status)


def with_rerun(job: FinetuneJob, value: str | None) -> FinetuneJob:
    return job.model_copy(update={"spec": job.spec.model_copy(update={"rerun": value})})


def after_prepare(job: FinetuneJob, *, is_trained: bool) -> Observed:
    words = a_result(Role.PREPARE, Reason.VALIDATED, is_trained=is_trained, evaluations=SCORES if is_trained else [])
    pod = replace(a_pod(Role.PREPARE, phase="Succeeded", containers=ended(0, words)), uid="uid-of-the-second")
    return replace(PREPARED, pods=(pod,))


def test_first_the_jobs_of_the_run_before_go_and_the_job_stays_failed_until_they_have_gone() -> None:
    job = with_rerun(failed(), "again")

    decision = look(job, REFUSED)

    assert decision.status == job.status
    assert [item.name for item in decision.delete] == [f"{BASE}-prepare", f"{BASE}-train-1", f"{BASE}-publish"]
    assert (decision.apply, decision.events) == ((), ())


def test_pods_that_ended_and_whose_jobs_are_gone_are_in_nobodys_way() -> None:
    job = with_rerun(failed(), "again")

    decision = look(job, replace(REFUSED, jobs=()))

    assert [item.name for item in decision.delete] == [pod.name for pod in REFUSED.pods]


def test_then_it_begins_anew_with_fresh_budgets_and_counts_its_gangs_on() -> None:
    job = with_rerun(failed(), "again")

    decision = look(job, now=at(500))

    status = decision.status
    assert (status.phase, status.rerun, status.attempt) == (Phase.PREPARING, "again", 2)
    assert (status.restarts, status.completion_time) == (RestartCounts(), None)
    assert status.start_time == "2026-11-23T09:08:20Z"
    assert kinds(decision)[-1] == f"Job/{BASE}-prepare"
    assert conditions(status)["Published"] == ("Unknown", "Accepted")
    assert conditions(status)["Finished"] == ("False", "Preparing")
    assert decision.events == ()


def test_whoever_asks_for_another_run_gets_it_whatever_is_on_the_hub() -> None:
    """A text that the job was made with asks for nothing: it comes back with the object from a backup."""
    calm = look(a_job(rerun="of last year"))
    asked = look(with_rerun(failed(), "again"))
    later = look(with_status(with_rerun(failed(), "again"), asked.status), PREPARED)

    configs = [RunConfig.model_validate_json(one.apply[0]["data"]["run.json"]) for one in (calm, asked, later)]
    assert [config.trains_anyway for config in configs] == [False, True, True]
    assert calm.apply[0]["metadata"]["name"] != asked.apply[0]["metadata"]["name"]


def test_a_model_that_was_trained_is_published_without_another_gang() -> None:
    job = with_rerun(failed(), "again")
    job = with_status(job, look(job).status)

    decision = look(job, after_prepare(job, is_trained=True))

    assert decision.status.phase == Phase.PUBLISHING
    assert kinds(decision)[-1] == f"Job/{BASE}-publish"
    training = condition(decision.status, ConditionType.TRAINING)
    assert (training.reason, training.message) == (
        "Trained",
        "an earlier run reached the end; its model is on the volume",
    )
    assert decision.status.evaluations == SCORES


def test_where_training_was_not_done_the_next_gang_goes_on() -> None:
    job = with_rerun(failed(), "again")
    job = with_status(job, look(job).status)

    decision = look(job, after_prepare(job, is_trained=False))

    assert decision.status.phase == Phase.QUEUED
    assert kinds(decision)[-1] == f"Job/{BASE}-train-2"


def test_a_text_that_was_there_when_the_job_began_or_came_while_it_ran_does_nothing() -> None:
    running = while_training(rerun="first")
    changed = with_rerun(running, "second")
    job = with_status(changed, look(changed, TRAINED).status)
    job = with_status(job, look(job, REFUSED).status)

    decision = look(job, REFUSED, now=at(1000))

    assert running.status.rerun == "first"
    assert (job.status.phase, job.status.rerun) == (Phase.FAILED, "second")
    assert (decision.status, decision.delete) == (job.status, ())


@pytest.mark.parametrize("value", [None, "again"])
def test_the_same_text_and_none_do_nothing(value: str | None) -> None:
    job = with_rerun(failed(rerun="again"), value)

    decision = look(job, now=at(1000))

    assert decision.status == job.status
    assert (decision.delete, decision.apply) == ((), ())


@pytest.mark.parametrize(
    "reason", [Reason.GATE_NOT_MET, Reason.MODEL_UNCHANGED, Reason.PUBLISH_SKIPPED, Reason.PUBLISHED]
)
def test_a_job_that_ended_well_publishes_again_without_training_anew(reason: Reason) -> None:
    said = a_pod(Role.PUBLISH, phase="Succeeded", containers=ended(0, a_result(Role.PUBLISH, reason, "its words")))
    done = replace(
        REFUSED,
        jobs=(*TRAINED.jobs, a_child(Role.PUBLISH, is_complete=True)),
        pods=(*TRAINED.pods, said),
    )
    job = with_status(while_training(), look(while_training(), TRAINED).status)
    job = with_status(job, look(job, done).status)
    lower = a_job(
        status=job.status,
        rerun="lower",
        publish={"repository": "acme/other", "tokenSecret": {"name": "hub-token"}, "always": True},
    )

    cleared = look(lower, done)
    begun = with_status(lower, look(lower).status)
    decision = look(begun, after_prepare(begun, is_trained=True))

    assert job.status.phase == Phase.SUCCEEDED
    assert {item.kind for item in cleared.delete} == {"Job"}
    assert (begun.status.phase, begun.status.attempt) == (Phase.PREPARING, 2)
    assert decision.status.phase == Phase.PUBLISHING
    assert kinds(decision)[-1] == f"Job/{BASE}-publish"
    assert [name for name in kinds(decision) if "train" in name] == []


def test_a_refusal_of_the_run_before_is_forgotten() -> None:
    job = a_job()
    job = with_status(job, look(job, Observed(rejection="a policy says no")).status)

    decision = look(with_rerun(job, "again"), Observed(rejection="a policy says no"))

    assert job.status.phase == Phase.FAILED
    assert decision.status.phase == Phase.PREPARING
