"""decide for a job that names a tracker: a Job beside the gang, and one after the end, which change nothing of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from finetune_api.contract import Role, TrackingTask, TrainingGang
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType, MetricsStatus, Phase, ProgressStatus, TrackingStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.children.track_job import LIVE_REQUESTS
from finetune_operator.core.decide import decide
from finetune_operator.core.decision import Decision
from finetune_operator.core.observed import ContainerView, Observed, PodView
from finetune_operator.core.platform import Platform
from finetune_operator.core.tracking import GIVE_UP_SECONDS
from tests.operator.given import (
    BASE,
    CONFIG,
    PLATFORM,
    PREPARED,
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
    ranks,
    while_training,
    with_status,
)

MLFLOW = {"mlflow": {"uri": "https://mlflow.example", "experiment": "search", "secretName": "mlflow"}}
TOLD = TrackingStatus(tracker="mlflow", run="0123", url="https://mlflow.example/#/experiments/1/runs/0123", points=40)
RUNNING = Observed(jobs=(*PREPARED.jobs, a_child(Role.TRAIN, attempt=1)), pods=(*PREPARED.pods, *ranks()))
LIVE = f"Job/{BASE}-track-1"
NAN = a_result(Role.TRAIN, Reason.NON_FINITE_LOSS)
CLAIM = f"PersistentVolumeClaim/{BASE}-workspace"


def published(**spec: Any) -> tuple[FinetuneJob, Observed]:  # noqa: ANN401 - fields pass through
    """Return a job that has just succeeded, with what is there then."""
    job = while_training(tracking=MLFLOW, **spec)
    job = with_status(job, look(job, TRAINED).status)
    pod = a_pod(Role.PUBLISH, phase="Succeeded", containers=ended(0, a_result(Role.PUBLISH, Reason.PUBLISHED)))
    child = a_child(Role.PUBLISH, is_complete=True)
    observed = Observed(jobs=(*TRAINED.jobs, child), pods=(*TRAINED.pods, pod))
    return with_status(job, look(job, observed).status), observed


def with_track(observed: Observed, *pods: Any, **job: Any) -> Observed:  # noqa: ANN401 - fields pass through
    return replace(observed, jobs=(*observed.jobs, a_child(Role.TRACK, **job)), pods=(*observed.pods, *pods))


def task_of(child: Any) -> TrackingTask:  # noqa: ANN401 - a manifest
    (container,) = child["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    return TrackingTask.model_validate_json(environment["FINETUNE_TRACKING_TASK"])


def failed(reason: Reason, code: int, *, seconds: float = 0) -> Any:  # noqa: ANN401 - a pod
    words = a_result(Role.TRACK, reason, "its words")
    return a_pod(Role.TRACK, phase="Failed", containers=ended(code, words, seconds=seconds))


def test_a_job_that_has_ended_tells_its_tracker_and_has_ended_all_the_same() -> None:
    job, observed = published()

    decision = look(job, observed, now=at(1))

    assert (job.status.phase, conditions(job.status)["Finished"]) == (Phase.SUCCEEDED, ("True", "Published"))
    assert conditions(job.status)["Tracked"] == ("Unknown", "Tracking")
    assert kinds(decision) == [f"ConfigMap/{CONFIG}", f"Job/{BASE}-track"]
    assert (decision.status, decision.delete) == (job.status, ())


def test_the_track_pod_is_told_the_end_and_reads_the_volume_without_writing() -> None:
    job, observed = published()

    (_, child) = look(job, observed, now=at(1)).apply

    pod = child["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert TrackingTask.model_validate_json(environment["FINETUNE_TRACKING_TASK"]) == TrackingTask.model_validate(
        {
            "tracking": MLFLOW,
            "phase": "Succeeded",
            "reason": "Published",
            "step": 0,
            "attempts": 1,
            "startTime": "2026-11-23T09:00:00Z",
            "completionTime": "2026-11-23T09:00:00Z",
        }
    )
    mounts = {mount["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts == {"config": True, "tmp": False, "workspace": True, "tracking": True}
    secrets = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert secrets == [{"secretName": "mlflow", "defaultMode": 0o440, "optional": True}]
    assert child["spec"]["activeDeadlineSeconds"] == 600


def test_no_other_child_knows_of_the_tracker() -> None:
    fresh = a_job(tracking=MLFLOW)
    queued = with_status(fresh, look(fresh, PREPARED).status)

    made = [*look(fresh).apply, *look(queued, PREPARED).apply]

    assert {one["kind"] for one in made} >= {"ConfigMap", "Job"}
    assert "mlflow" not in json.dumps(made)


def test_a_job_that_names_no_tracker_or_never_trained_says_nothing_of_one() -> None:
    job = while_training(publish=None)
    unprepared = a_job(tracking=MLFLOW)
    refused = a_pod(Role.PREPARE, phase="Failed", containers=ended(13, a_result(Role.PREPARE, Reason.TOKEN_REFUSED)))
    end = look(unprepared, Observed(jobs=(a_child(Role.PREPARE, is_failed=True),), pods=(refused,)))

    assert "Tracked" not in conditions(look(job, TRAINED).status)
    assert (end.status.phase, conditions(end.status).get("Tracked")) == (Phase.FAILED, None)


@pytest.mark.parametrize("step", [3, 0])
def test_a_training_that_fails_is_told_with_what_is_known_even_if_it_made_no_step(step: int) -> None:
    job = while_training(tracking=MLFLOW)
    metrics = MetricsStatus(train_loss=9.5, baseline_score=0.5)
    nan = ended(15, a_result(Role.TRAIN, Reason.NON_FINITE_LOSS, "no number", progress=ProgressStatus(step=step)))
    job = with_status(job, job.status.model_copy(update={"metrics": metrics}))
    lost = Observed(jobs=(a_child(Role.TRAIN, attempt=1),), pods=ranks("Failed", containers=nan))

    end = look(job, lost).status
    (_, child) = look(with_status(job, end), lost, now=at(1)).apply

    assert (end.phase, conditions(end)["Tracked"]) == (Phase.FAILED, ("Unknown", "Tracking"))
    task = task_of(child)
    assert (task.phase, task.reason, task.step, task.metrics) == (Phase.FAILED, "NonFiniteLoss", step, metrics)
    assert task.message.startswith("rank 0: no number")


def test_a_gang_that_never_ran_tells_no_tracker() -> None:
    job = a_job(tracking=MLFLOW, schedule={"queueTimeoutSeconds": 60})
    waits = replace(RUNNING, pods=PREPARED.pods)
    for _ in range(2):
        job = with_status(job, look(job, waits if job.status.phase else PREPARED).status)

    end = look(job, waits, now=at(5000)).status

    assert (end.phase, conditions(end).get("Tracked")) == (Phase.FAILED, None)


def training_run(**spec: Any) -> FinetuneJob:  # noqa: ANN401 - fields pass through
    """Return a job whose gang trains a run that prepare has found."""
    job = while_training(**{"tracking": MLFLOW, **spec})
    return with_status(job, job.status.model_copy(update={"run": "5eed-c0de"}))


def optional(decision: Decision) -> list[str]:
    return [f"{one['kind']}/{one['metadata']['name']}" for one in decision.optional]


def beside(observed: Observed, *pods: PodView, **job: Any) -> Observed:  # noqa: ANN401 - fields pass through
    child = a_child(Role.TRACK, attempt=1, **job)
    return replace(observed, jobs=(*observed.jobs, child), pods=(*observed.pods, *pods))


def test_a_gang_that_runs_gets_a_pod_beside_it_that_tells_the_tracker() -> None:
    decision = look(training_run(), RUNNING)

    assert (decision.apply, optional(decision)) == ((), [f"ConfigMap/{CONFIG}", LIVE])
    tracked = condition(decision.status, ConditionType.TRACKED)
    where = "run search/qwen of experiment search at https://mlflow.example"
    told = f"a pod tells the tracker what checkpoints keep, while gangs train: {where}"
    assert (tracked.status, tracked.reason, tracked.message) == ("Unknown", "Tracking", told)


def test_the_pod_beside_the_gang_asks_rank_0_and_has_no_volume_that_one_node_may_hold() -> None:
    (_, child) = look(training_run(storage={}), RUNNING).optional

    spec = child["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert [volume["name"] for volume in spec["volumes"]] == ["config", "tmp", "tracking"]
    assert [mount["name"] for mount in container["volumeMounts"]] == ["config", "tmp", "tracking"]
    assert (container["resources"], spec["terminationGracePeriodSeconds"]) == ({"requests": LIVE_REQUESTS}, 10)
    assert "activeDeadlineSeconds" not in child["spec"]
    address = f"{BASE}-train-1-0.{BASE}-ranks"
    assert task_of(child).training == TrainingGang(attempt=1, run="5eed-c0de", address=address)


@pytest.mark.parametrize(
    ("job", "platform"),
    [
        (training_run(tracking=None), PLATFORM),
        (training_run(tracking={"wandb": {"project": "search", "secretName": "wandb"}}), PLATFORM),
        (training_run(), replace(PLATFORM, queue_all_roles=True)),
    ],
    ids=["no tracker", "steps only rise", "it would wait in the queue of gangs"],
)
def test_a_gang_has_no_pod_beside_it_where_that_is_of_no_use_or_could_do_harm(
    job: FinetuneJob, platform: Platform
) -> None:
    decision = decide(job, RUNNING, at(1), platform=platform)

    assert (decision.status.phase, decision.optional) == (Phase.TRAINING, ())


def test_a_gang_that_waits_or_is_made_has_no_pod_beside_it() -> None:
    job = training_run()
    queued = with_status(job, look(a_job(tracking=MLFLOW), PREPARED).status.model_copy(update={"run": "5eed-c0de"}))
    waits = replace(RUNNING, pods=PREPARED.pods)

    assert [look(queued, PREPARED).optional, look(queued, waits).optional] == [(), ()]


@pytest.mark.parametrize(
    ("job", "observed"),
    [
        (training_run(suspend=True), RUNNING),
        (training_run(), replace(RUNNING, jobs=(a_child(Role.TRAIN, attempt=1, is_suspended=True),))),
        (training_run(), replace(RUNNING, pods=ranks("Failed", containers=ended(137)))),
        (training_run(), TRAINED),
        (training_run(publish=None), TRAINED),
        (training_run(), replace(RUNNING, pods=ranks("Failed", containers=ended(15, NAN)))),
    ],
    ids=["suspended", "taken by a queue", "lost", "publishing", "succeeded", "failed"],
)
def test_the_pod_goes_with_the_gang_in_the_same_look(job: FinetuneJob, observed: Observed) -> None:
    decision = look(job, beside(observed, a_pod(Role.TRACK, attempt=1, phase="Running")))

    assert LIVE in [f"{one.kind}/{one.name}" for one in decision.delete]
    assert decision.optional == ()


def test_the_pod_of_the_next_gang_and_that_of_the_end_wait_until_nobody_else_writes() -> None:
    pod = a_pod(Role.TRACK, attempt=1, phase="Running")
    going = replace(pod, gone_at=at(10))
    job = training_run()
    second = with_status(job, job.status.model_copy(update={"attempt": 2}))
    running = Observed(jobs=(*PREPARED.jobs, a_child(Role.TRAIN, attempt=2)), pods=ranks(attempt=2))
    done, observed = published()

    assert optional(look(second, replace(running, pods=(*running.pods, going)))) == []
    assert optional(look(second, running)) == [f"ConfigMap/{CONFIG}", f"Job/{BASE}-track-2"]
    assert kinds(look(done, replace(observed, pods=(*observed.pods, going)), now=at(1))) == []
    assert kinds(look(done, observed, now=at(1))) == [f"ConfigMap/{CONFIG}", f"Job/{BASE}-track"]


def test_a_key_that_is_refused_while_a_gang_trains_is_told_at_once_and_the_gang_goes_on() -> None:
    words = a_result(Role.TRACK, Reason.TOKEN_REFUSED, "the Secret lacks its key")
    pod = a_pod(Role.TRACK, attempt=1, phase="Failed", containers=ended(13, words))

    decision = look(training_run(), beside(RUNNING, pod, is_failed=True, finished_at=at(0)))

    tracked = condition(decision.status, ConditionType.TRACKED)
    assert (tracked.status, tracked.reason) == ("Unknown", "TokenRefused")
    assert tracked.message == "it is tried again once the job has ended, because the Secret lacks its key"
    assert (decision.status.phase, decision.delete, decision.optional) == (Phase.TRAINING, (), ())


def test_whoever_takes_the_tracker_out_of_the_spec_of_a_gang_that_trains_hears_no_more_of_it() -> None:
    job = training_run()
    job = with_status(job, look(job, RUNNING).status)
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"tracking": None})})

    decision = look(job, beside(RUNNING, a_pod(Role.TRACK, attempt=1, phase="Running")))

    assert "Tracked" not in conditions(decision.status)
    assert [one.name for one in decision.delete] == [f"{BASE}-track-1"]


def test_what_the_tracker_has_goes_into_the_status_and_is_told_once() -> None:
    job, observed = published()
    words = a_result(Role.TRACK, Reason.TRACKED, "40 values", tracking=TOLD, warnings=["no pictures"])
    done = with_track(
        observed, a_pod(Role.TRACK, phase="Succeeded", containers=ended(0, words)), is_complete=True, finished_at=at(5)
    )

    first = look(job, done, now=at(6))
    again = look(with_status(job, first.status), done, now=at(7))

    assert first.status.tracking == TOLD
    assert first.status.warnings == ["no pictures"]
    assert conditions(first.status)["Tracked"] == ("True", "Tracked")
    assert [(event.kind, event.reason, event.note) for event in first.events] == [("Normal", "Tracked", "40 values")]
    assert (again.status, again.events, again.apply) == (first.status, (), ())


def test_a_job_whose_pod_has_told_the_tracker_ends_by_itself_so_that_its_log_stays() -> None:
    job, observed = published()
    words = a_result(Role.TRACK, Reason.TRACKED, tracking=TOLD)
    pod = a_pod(Role.TRACK, phase="Succeeded", containers=ended(0, words))

    before = look(job, with_track(observed, pod), now=at(5))
    held = look(job, with_track(observed, beside_a_sidecar(pod)), now=at(5))

    assert (conditions(before.status)["Tracked"], before.delete) == (("Unknown", "Tracking"), ())
    assert conditions(held.status)["Tracked"] == ("True", "Tracked")
    assert [item.name for item in held.delete] == [f"{BASE}-track"]


@pytest.mark.parametrize(
    ("reason", "code"), [(Reason.TOKEN_REFUSED, 13), (Reason.TRACKER_REFUSED, 13), (Reason.TRACKER_UNAVAILABLE, 14)]
)
def test_a_tracker_that_was_not_told_is_a_warning_and_the_job_stays_succeeded(reason: Reason, code: int) -> None:
    job, observed = published()

    decision = look(job, with_track(observed, failed(reason, code), is_failed=True), now=at(60))

    found = conditions(decision.status)
    assert (decision.status.phase, found["Succeeded"]) == (Phase.SUCCEEDED, ("True", "Published"))
    assert found["Tracked"] == ("False", reason.value)
    assert "set spec.rerun" in condition(decision.status, ConditionType.TRACKED).message
    assert [(event.kind, event.reason) for event in decision.events] == [("Warning", reason.value)]


def test_a_try_that_failed_is_told_while_the_job_of_kubernetes_repeats_it() -> None:
    job, observed = published()

    decision = look(job, with_track(observed, failed(Reason.TRACKER_UNAVAILABLE, 14)), now=at(60))

    assert conditions(decision.status)["Tracked"] == ("Unknown", "TrackerUnavailable")
    assert condition(decision.status, ConditionType.TRACKED).message == "it is tried again, because its words"
    assert (decision.events, decision.requeue_after) == ((), GIVE_UP_SECONDS - 60)


def test_a_deadline_is_told_with_what_stood_in_the_way() -> None:
    job, observed = published()
    job = with_status(job, look(job, with_track(observed, failed(Reason.TRACKER_UNAVAILABLE, 14)), now=at(60)).status)

    decision = look(
        job, with_track(observed, is_failed=True, failure="DeadlineExceeded: x", finished_at=at(610)), now=at(700)
    )

    tracked = condition(decision.status, ConditionType.TRACKED)
    assert (tracked.status, tracked.reason) == ("False", "TrackerUnavailable")
    assert tracked.message.startswith(
        "the tracker was not told within 600 s; at last: it is tried again, because its words. The job itself"
    )


def test_a_pod_that_does_not_start_says_why() -> None:
    job, observed = published()
    waiting = (ContainerView(name="main", waiting_reason="ImagePullBackOff", waiting_message="no such image"),)

    pending = look(job, with_track(observed, a_pod(Role.TRACK, containers=waiting)), now=at(60))
    homeless = look(job, with_track(observed, a_pod(Role.TRACK, unscheduled="0/2 nodes")), now=at(60))

    assert conditions(pending.status)["Tracked"] == ("Unknown", "ImageUnavailable")
    assert condition(homeless.status, ConditionType.TRACKED).message == "the track pod has no node yet: 0/2 nodes"


def given_up(**job: Any) -> Decision:  # noqa: ANN401 - fields pass through
    ended_job, observed = published()
    return look(ended_job, with_track(observed, **job) if job else observed, now=at(GIVE_UP_SECONDS))


@pytest.mark.parametrize("when", [given_up, lambda: given_up(is_suspended=True)])
def test_a_job_that_cannot_be_made_or_is_not_admitted_is_given_up_after_a_while(when: Callable[[], Decision]) -> None:
    decision = when()

    assert conditions(decision.status)["Tracked"] == ("False", "TrackerUnavailable")
    assert kinds(decision) == []


def test_the_volume_stays_until_the_tracker_was_told_whatever_the_ttl_says() -> None:
    job, observed = published(ttlSecondsAfterFinished=0)
    going = with_track(observed, a_pod(Role.TRACK, phase="Running"))
    words = a_result(Role.TRACK, Reason.TRACKED, tracking=TOLD)
    done = with_track(observed, a_pod(Role.TRACK, phase="Succeeded", containers=ended(0, words)), is_complete=True)

    before = look(job, going, now=at(100))
    after = look(with_status(job, look(job, done, now=at(101)).status), done, now=at(102))

    assert before.delete == ()
    assert {CLAIM, f"Job/{BASE}-track"} <= {f"{item.kind}/{item.name}" for item in after.delete}


def test_whoever_takes_the_tracker_out_of_the_spec_waits_for_it_no_longer() -> None:
    job, observed = published()
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"tracking": None})})

    decision = look(job, with_track(observed, a_pod(Role.TRACK, phase="Running")), now=at(10))

    assert "Tracked" not in conditions(decision.status)
    assert [item.name for item in decision.delete] == [f"{BASE}-track"]


def test_a_rerun_tells_the_tracker_anew() -> None:
    job, observed = published()
    job = with_status(job, look(job, with_track(observed, failed(Reason.TOKEN_REFUSED, 13), is_failed=True)).status)
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"rerun": "again"})})

    cleared = look(job, with_track(observed, is_failed=True))
    fresh = look(job, Observed())

    assert f"{BASE}-track" in [item.name for item in cleared.delete]
    assert "Tracked" not in conditions(fresh.status)
