"""One folder of one claim, and several jobs that were given it."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, FinetuneJobStatus, Phase
from finetune_api.types import FinetuneJob, ObjectMeta
from finetune_operator.core import names
from finetune_operator.core.observed import Observed
from finetune_operator.core.sharing import Claimant, find_holder
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, POD
from tests.operator.given import T0, a_job, at, condition, kinds, look, manifest, raw_job, raw_pod, with_status

SHARED = {"existingClaim": "models", "subPath": "team/qwen"}
CLAIMANTS = st.lists(
    st.builds(
        Claimant,
        name=st.just("a job"),
        uid=st.uuids().map(str),
        created_at=st.sampled_from(["2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"]),
        is_at_work=st.sampled_from([False]),
        is_waiting=st.sampled_from([True]),
    ),
    min_size=1,
    unique_by=lambda one: one.uid,
)


def job_named(
    name: str, *, day: int, phase: Phase | None = None, storage: dict[str, str] = SHARED, suspend: bool = False
) -> dict[str, Any]:
    found = manifest(name, status=FinetuneJobStatus(phase=phase), storage=storage, suspend=suspend)
    found["metadata"] |= {"uid": f"uid-{name}", "creationTimestamp": f"2030-01-0{day}T00:00:00Z"}
    return found


def holder(*others: dict[str, Any], storage: dict[str, str] = SHARED) -> str:
    """Return who has the folder of job b, made on the second day and not begun."""
    cache = Cache(now=lambda: T0)
    for found in (job_named("b", day=2, storage=storage), *others):
        cache.put(FINETUNE_JOB, found)
    return holder_in(cache)


def holder_in(cache: Cache) -> str:
    found = cache.observe("uid-b").workspace_holder
    return found.name if found else ""


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.QUEUED, Phase.TRAINING, Phase.RESTARTING, Phase.PUBLISHING])
def test_a_job_that_is_at_work_has_the_folder_whoever_is_older(phase: Phase) -> None:
    assert holder(job_named("c", day=3, phase=phase)) == "c"


def test_of_two_jobs_that_have_not_begun_the_older_one_begins() -> None:
    assert (holder(job_named("a", day=1)), holder(job_named("c", day=3))) == ("a", "")


@pytest.mark.parametrize(("sub_path", "expected"), [(".", "a"), ("team/qwen", "")])
def test_the_claim_made_for_another_job_is_whole_only_its_own_while_that_one_is_at_work(
    sub_path: str, expected: str
) -> None:
    other = job_named("a", day=1, phase=Phase.TRAINING, storage={})
    claim = names.base(ObjectMeta.model_validate(other["metadata"])) + "-workspace"

    assert holder(other, storage={"existingClaim": claim, "subPath": sub_path}) == expected


@pytest.mark.parametrize("phase", [None, Phase.PENDING, Phase.SUSPENDED])
def test_a_suspended_job_that_has_not_begun_holds_nobody_up_until_it_is_to_go_on(phase: Phase | None) -> None:
    suspended, going_on = (job_named("a", day=1, phase=phase, suspend=is_so) for is_so in (True, False))

    assert (holder(suspended), holder(going_on)) == ("", "a")


def test_a_suspended_job_that_has_begun_keeps_the_folder_with_its_inputs_also_without_its_jobs() -> None:
    suspended = job_named("a", day=1, phase=Phase.SUSPENDED, suspend=True)
    prepared = deepcopy(suspended)
    prepared["status"]["conditions"] = [{"type": "Validated", "status": "True"}]
    begun = Cache(now=lambda: T0)
    child = raw_job(Role.PREPARE)
    child["metadata"]["ownerReferences"][0]["uid"] = "uid-a"
    for kind, found in ((FINETUNE_JOB, suspended), (FINETUNE_JOB, job_named("b", day=2)), (JOB, child)):
        begun.put(kind, found)

    assert (holder(suspended), holder(prepared), holder_in(begun)) == ("", "a", "a")


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED])
def test_an_ended_job_has_left_its_folder_once_its_pods_have_ended(phase: Phase) -> None:
    cache = Cache(now=lambda: T0)
    for found in (job_named("a", day=1, phase=phase), job_named("b", day=2)):
        cache.put(FINETUNE_JOB, found)
    pod = raw_pod(Role.TRAIN, attempt=1)
    pod["metadata"]["labels"][keys.LABEL_JOB_UID] = "uid-a"
    pod["metadata"]["name"] = names.train_job(FinetuneJob.model_validate(job_named("a", day=1)), 1) + "-0-x7k2q"

    before = holder_in(cache)
    cache.put(POD, pod)
    meanwhile = holder_in(cache)

    assert (before, meanwhile) == ("", "a")


def test_an_ended_job_keeps_its_folder_until_its_tracker_was_told() -> None:
    ended = job_named("a", day=1, phase=Phase.SUCCEEDED)
    untold, told = deepcopy(ended), deepcopy(ended)
    untold["status"]["conditions"] = [{"type": "Tracked", "status": "Unknown"}]
    told["status"]["conditions"] = [{"type": "Tracked", "status": "False"}]

    assert (holder(untold), holder(told)) == ("a", "")


@pytest.mark.parametrize(
    "storage", [{"existingClaim": "other", "subPath": "team/qwen"}, {"existingClaim": "models"}, {}]
)
def test_other_folders_are_nobodys_business(storage: dict[str, str]) -> None:
    running = job_named("a", day=1, phase=Phase.TRAINING)
    running["spec"]["storage"] = storage

    assert holder(running) == ""


def test_two_jobs_on_one_claim_that_name_no_folder_run_side_by_side() -> None:
    bare = {"existingClaim": "models"}

    assert holder(job_named("a", day=1, phase=Phase.TRAINING, storage=bare), storage=bare) == ""


@given(CLAIMANTS)
def test_exactly_one_of_many_that_wait_may_begin(waiting: list[Claimant]) -> None:
    free = [one for one in waiting if not find_holder(one, [other for other in waiting if other is not one])]

    assert len(free) == 1


def a_claimant(*, is_at_work: bool) -> Claimant:
    return Claimant(name="other", uid="x", created_at="", is_at_work=is_at_work, is_waiting=not is_at_work)


def test_a_job_whose_folder_is_taken_waits_and_says_for_whom_and_then_begins() -> None:
    job = a_job(storage=SHARED)
    taken = Observed(workspace_holder=a_claimant(is_at_work=True))

    first = look(job, taken)
    again = look(with_status(job, first.status), taken, now=at(600))
    free = look(with_status(job, first.status), now=at(700))

    words = condition(first.status, ConditionType.SUCCEEDED)
    assert (first.status.phase, first.apply, first.rehearse) == (Phase.PENDING, (), ())
    assert words.reason == Reason.WORKSPACE_IN_USE
    assert words.message.startswith(
        "folder team/qwen of volume claim models is used by FinetuneJob other; this job begins"
    )
    assert [(event.kind, event.reason) for event in first.events] == [("Warning", "WorkspaceInUse")]
    assert (again.status, again.events, again.requeue_after) == (first.status, (), 15)
    assert free.status.phase == Phase.PREPARING
    assert kinds(free)


def test_a_job_behind_one_that_has_not_begun_either_does_not_say_that_the_folder_is_used() -> None:
    decision = look(a_job(storage=SHARED), Observed(workspace_holder=a_claimant(is_at_work=False)))

    assert condition(decision.status, ConditionType.SUCCEEDED).message.startswith(
        "folder team/qwen of volume claim models goes first to FinetuneJob other, which is ahead of this one; "
        "this job begins when that one has ended."
    )


def rival(other: dict[str, Any], **publish: str) -> str:
    """Return whom a new job `b` is told of."""
    cache, new = Cache(now=lambda: T0), job_named("b", day=2)
    new["spec"]["publish"] |= publish
    for found in (other, new):
        cache.put(FINETUNE_JOB, found)
    return cache.observe("uid-b").rival


def test_two_jobs_that_publish_to_one_branch_are_known_before_the_second_begins() -> None:
    running = job_named("a", day=1, phase=Phase.TRAINING)
    elsewhere = deepcopy(running)
    elsewhere["metadata"]["namespace"] = "elsewhere"

    assert rival(running) == "FinetuneJob a publishes to acme/better, branch main, too"
    assert rival(elsewhere) == "a FinetuneJob of another namespace publishes to acme/better, branch main, too"
    assert rival(running, branch="b") == rival(running, repository="acme/b") == ""
    assert rival(job_named("a", day=1, phase=Phase.SUCCEEDED)) == ""


def test_a_job_that_publishes_where_another_one_does_is_told_and_begins() -> None:
    text = "FinetuneJob a publishes to acme/better, branch main, too"

    decision = look(a_job(), Observed(rival=text))

    assert decision.status.phase == Phase.PREPARING
    assert decision.status.warnings == [
        f"{text}: of two models on one branch the later one replaces the other; give one of the jobs a repository or a "
        "branch of its own"
    ]
