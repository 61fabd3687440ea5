"""Jobs whose pods the API server refuses, by a quota for example: told in the status, in its own words."""

from dataclasses import replace

import pytest

from finetune_api.contract import Role
from finetune_api.status import ConditionType, Phase
from finetune_operator.core.observed import JobView, Notice, Observed, Refusal
from finetune_operator.core.shortage import (
    describe_queue,
    describe_shortage,
    explain_refusal,
    is_held_for_long,
    is_short,
    seconds_to_shortage,
)
from tests.operator.given import (
    BASE,
    PREPARED,
    T0,
    TRAINED,
    a_child,
    a_job,
    a_pod,
    at,
    condition,
    conditions,
    look,
    ranks,
    while_training,
    with_status,
)

GANG = a_child(Role.TRAIN, attempt=1, started_at=T0)
WORDS = "exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used: 8, limited: 8"


def refusing(*jobs: JobView, **fields: object) -> Observed:
    """Return what is observed while the API server lets none of these Jobs have a pod."""
    refusals = tuple(Refusal(job_uid=job.uid, message=WORDS) for job in jobs)
    return replace(Observed(jobs=jobs, refusals=refusals), **fields)  # type: ignore[arg-type]


def test_a_gang_is_short_of_pods_when_one_is_still_missing_after_half_a_minute() -> None:
    one, both = ranks("Pending", num=1), ranks("Pending")

    assert [is_short(GANG, one, at(29)), is_short(GANG, one, at(30)), is_short(GANG, both, at(30))] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "job",
    [
        replace(GANG, started_at=None),
        replace(GANG, is_deleting=True),
        replace(GANG, is_failed=True),
    ],
    ids=["not begun", "on its way out", "over"],
)
def test_a_job_that_is_not_making_pods_is_never_short_of_them(job: JobView) -> None:
    assert (is_short(job, (), at(600)), seconds_to_shortage(job, (), at(600))) == (False, None)


def test_events_are_asked_for_when_patience_ends_and_once_a_minute_from_then_on() -> None:
    assert [seconds_to_shortage(GANG, (), at(10)), seconds_to_shortage(GANG, (), at(30))] == [20, 60]


def test_what_a_queue_said_is_no_refusal_once_it_has_admitted_the_job() -> None:
    held = replace(GANG, is_suspended=True)
    said = Refusal(job_uid=GANG.uid, message="Preempted to accommodate a workload", is_of_queue=True)

    meanwhile = describe_queue(Observed(jobs=(held,), refusals=(said,)), held)
    afterwards = describe_shortage(Observed(jobs=(GANG,), refusals=(said,)), GANG, ranks("Pending", num=1), at(60))

    assert meanwhile.endswith(": Preempted to accommodate a workload")
    assert afterwards == ""


def test_a_queue_is_given_a_moment_to_say_why_it_holds_a_job_and_asked_once_a_minute_from_then_on() -> None:
    held = replace(GANG, is_suspended=True, held_since=at(100))

    asked = [is_held_for_long(held, at(100)), is_held_for_long(held, at(105)), is_held_for_long(GANG, at(900))]
    looks = [seconds_to_shortage(held, (), at(101)), seconds_to_shortage(held, (), at(105))]

    assert (asked, looks) == ([False, True, False], [4, 60])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (f'Error creating: pods "demo-train-1-0-x7k2p" is forbidden: {WORDS}', WORDS),
        (f'(combined from similar events): Error creating: pods "a" is forbidden: {WORDS}', WORDS),
        ("Error creating: admission webhook denied the request: no", "admission webhook denied the request: no"),
        ('Error creating: Pod "demo-train-1-0-x7k2p" is invalid: spec.x: no', "invalid: spec.x: no"),
        ("Created pod: demo-train-1-0-x7k2p", ""),
    ],
)
def test_the_words_of_a_refusal_are_the_same_for_each_pod(message: str, words: str) -> None:
    assert explain_refusal([Notice(message=message)]) == words


def test_the_newest_refusal_counts() -> None:
    notices = [Notice(message=text) for text in ("Error creating: old", "Error creating: new", "Created pod: x")]

    assert explain_refusal(notices) == "new"


def test_a_refused_prepare_pod_is_told_and_told_once() -> None:
    prepare = a_child(Role.PREPARE, started_at=T0)

    first = look(a_job(), refusing(prepare), now=at(30))
    again = look(with_status(a_job(), first.status), refusing(prepare), now=at(90))

    summary = condition(first.status, ConditionType.SUCCEEDED)
    assert (first.status.phase, summary.reason) == (Phase.PREPARING, "PodsRefused")
    assert summary.message == f"the API server refuses 1 of 1 pods of Job {BASE}-prepare: {WORDS}"
    assert (again.status, again.events, again.requeue_after) == (first.status, (), 60)


def test_a_refused_rank_keeps_the_gang_queued_with_the_reason_and_an_event() -> None:
    job = with_status(a_job(), look(a_job(), PREPARED).status)

    decision = look(job, refusing(GANG, pods=ranks(num=1)), now=at(30))

    message = f"the API server refuses 1 of 2 pods of Job {BASE}-train-1: {WORDS}"
    assert decision.status.phase == Phase.QUEUED
    assert conditions(decision.status)["Scheduled"] == ("False", "PodsRefused")
    assert [(event.kind, event.reason, event.note) for event in decision.events] == [
        ("Warning", "PodsRefused", message)
    ]


def test_a_refused_publish_pod_is_told() -> None:
    job = with_status(while_training(), look(while_training(), TRAINED).status)
    publish = a_child(Role.PUBLISH, started_at=T0)

    status = look(job, refusing(publish, pods=TRAINED.pods), now=at(30)).status

    summary = condition(status, ConditionType.SUCCEEDED)
    assert (status.phase, summary.reason) == (Phase.PUBLISHING, "PodsRefused")
    assert summary.message.endswith(WORDS)


def test_nothing_is_said_about_missing_pods_while_nothing_is_known() -> None:
    prepare = a_child(Role.PREPARE, started_at=T0)
    job = with_status(a_job(), look(a_job()).status)

    assert look(job, Observed(jobs=(prepare,)), now=at(600)).status == job.status


def test_a_refusal_is_forgotten_once_the_pod_is_there() -> None:
    prepare = a_child(Role.PREPARE, started_at=T0)
    refused = with_status(a_job(), look(a_job(), refusing(prepare), now=at(30)).status)

    status = look(refused, refusing(prepare, pods=(a_pod(Role.PREPARE, phase="Running"),)), now=at(60)).status

    assert condition(status, ConditionType.SUCCEEDED).reason == "Preparing"
