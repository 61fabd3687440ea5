"""The cache: newest wins, deleted stays deleted, what this process alone knows is kept."""

import gc
import json
import tracemalloc
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from finetune_api import keys
from finetune_api.contract import Progress, Role
from finetune_api.reasons import Reason
from finetune_api.status import FinetuneJobStatus, Phase, ProgressStatus
from finetune_operator.core import names
from finetune_operator.core.observed import Observed, ProgressReport, Refusal, Trouble
from finetune_operator.shell.cache import Cache, Target
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, POD, Kind
from tests.operator.given import BASE, T0, UID, a_job, at, manifest, raw_job, raw_pod, while_training

WAITING = {"containerStatuses": [{"name": "train", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]}


class Clock:
    """A clock that stands still unless moved."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


def versioned(found: dict[str, Any], version: int, **status: object) -> dict[str, Any]:
    metadata = {**found["metadata"], "resourceVersion": str(version)}
    return {**found, "metadata": metadata, "status": {**found.get("status", {}), **status}}


def phases(cache: Cache) -> list[str]:
    return [pod.phase for pod in cache.observe(UID).pods]


def answer(step: int, *, attempt: int = 1) -> Progress:
    return Progress(
        attempt=attempt, progress=ProgressStatus(stage="Training", step=step), last_step_time=at(step).isoformat()
    )


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache = Cache(now=Clock())
    cache.put(POD, versioned(raw_pod(Role.TRAIN), 20, phase="Running"))

    cache.put(POD, versioned(raw_pod(Role.TRAIN), 10, phase="Pending"))

    assert phases(cache) == ["Running"]


def test_that_a_gang_was_made_is_remembered_when_its_job_is_gone() -> None:
    cache = Cache(now=Clock())
    gang = raw_job(Role.TRAIN, attempt=2)
    cache.put(FINETUNE_JOB, manifest())
    cache.put(JOB, gang)

    cache.drop(JOB, gang["metadata"]["uid"])

    assert cache.observe(UID) == Observed(newest_attempt=2)


def test_a_late_list_does_not_bring_back_what_the_watch_saw_deleted() -> None:
    cache = Cache(now=Clock())
    pod = raw_pod(Role.TRAIN)
    cache.put(POD, pod)
    cache.drop(POD, pod["metadata"]["uid"])

    cache.put(POD, pod)

    assert cache.observe(UID) == Observed()


def test_what_a_list_lacks_is_dropped_unless_it_is_newer_than_the_list() -> None:
    cache = Cache(now=Clock())
    cache.put(POD, versioned(raw_pod(Role.TRAIN, index=0), 10))
    cache.put(POD, versioned(raw_pod(Role.TRAIN, index=1), 60))

    cache.keep_only(POD, (), version=50)

    assert [pod.index for pod in cache.observe(UID).pods] == [1]


def test_children_that_come_before_their_job_are_kept_for_it() -> None:
    cache = Cache(now=Clock())

    child = cache.put(POD, raw_pod(Role.TRAIN))
    job = cache.put(FINETUNE_JOB, manifest())

    assert child == job == UID
    assert len(cache.observe(UID).pods) == 1


def test_a_deleted_job_leaves_nothing_once_its_children_are_gone() -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest())
    cache.put(POD, raw_pod(Role.TRAIN))

    cache.drop(FINETUNE_JOB, UID)
    cache.drop(POD, raw_pod(Role.TRAIN)["metadata"]["uid"])

    assert (cache.uids(), cache._families, cache._homes) == ([], {}, {})


def changed(found: dict[str, Any], *, labels: dict[str, str] | None = None, **metadata: object) -> dict[str, Any]:
    """Return it with other metadata; labels are changed one by one."""
    merged = {**found["metadata"].get("labels", {}), **(labels or {})}
    return {**found, "metadata": {**found["metadata"], **metadata, "labels": merged}}


def with_a_gang() -> Cache:
    """Return the cache of a job whose gang runs."""
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest())
    cache.put(JOB, raw_job(Role.TRAIN, attempt=1))
    for index in range(2):
        cache.put(POD, raw_pod(Role.TRAIN, attempt=1, index=index))
    return cache


RANK = raw_pod(Role.TRAIN, attempt=1)
COPY = changed(RANK, name=f"{RANK['metadata']['name']}-debug", uid="copy", ownerReferences=[])
#: As long as a name can be: Kubernetes cuts off the end of the attempt.
LONG = "qwen3-vl-embedding-2b-legal-documents"


@pytest.mark.parametrize(
    ("kind", "found", "ignored"),
    [
        (POD, {"metadata": {"name": "x", "uid": "y", "labels": {"app": "z"}}}, "unreadable"),
        (POD, changed(RANK, uid="y", labels={keys.LABEL_COMPLETION_INDEX: "abc"}), "unreadable"),
        (POD, changed(RANK, uid="y", labels={keys.LABEL_COMPLETION_INDEX: ""}), "unreadable"),
        (POD, changed(RANK, uid="y", labels={keys.LABEL_ATTEMPT: "first"}), "unreadable"),
        (POD, changed(RANK, uid="y", labels={keys.LABEL_ROLE: "spy"}), "unreadable"),
        (POD, changed(RANK, uid="y") | {"status": {"conditions": [{"status": "True"}]}}, "unreadable"),
        (POD, changed(RANK, uid="y", ownerReferences=[{"kind": "ReplicaSet", "controller": True}]), "foreign"),
        (POD, changed(RANK, uid="y", namespace="elsewhere"), "foreign"),
        (POD, COPY, "foreign"),
        (POD, changed(COPY, name="debug-copy"), "foreign"),
        (POD, changed(COPY, name=f"{BASE}-train-1-0-debug"), "foreign"),
        (JOB, changed(raw_job(Role.TRAIN, attempt=1), uid="y", ownerReferences=[]), "foreign"),
        (JOB, changed(raw_job(Role.TRAIN, attempt=1), uid="y", namespace="elsewhere"), "foreign"),
    ],
    ids=[
        "no labels of ours",
        "an index that is no number",
        "no index",
        "an attempt that is no number",
        "a role that is none",
        "a condition without a type",
        "a pod of something else",
        "a pod of another namespace",
        "a copy of a rank",
        "a copy with a name of its own",
        "a copy that is named as a rank, but for its last five characters",
        "a Job of nobody",
        "a Job of another namespace",
    ],
)
def test_what_is_a_strangers_or_cannot_be_read_is_counted_and_left_alone(
    kind: Kind, found: dict[str, Any], ignored: str
) -> None:
    cache = with_a_gang()
    before = cache.observe(UID)

    cache.put(kind, found)

    assert cache.observe(UID) == before
    assert cache.ignored() == {(kind.plural, ignored): 1}
    cache.drop(kind, found["metadata"]["uid"])
    assert cache.ignored() == {}


def test_what_is_left_alone_is_forgotten_once_a_list_lacks_it() -> None:
    cache = with_a_gang()
    cache.put(POD, {"metadata": {"name": "x", "uid": "y", "labels": {}}})

    cache.keep_only(POD, {"pod-train-1-0", "pod-train-1-1"}, version=50)

    assert (cache.ignored(), len(cache.observe(UID).pods)) == ({}, 2)


@pytest.mark.parametrize(("role", "attempt"), [*((role, int(role is Role.TRAIN)) for role in Role), (Role.TRACK, 1)])
def test_a_pod_that_has_lost_its_job_is_known_by_its_name_also_after_a_restart(role: Role, attempt: int) -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest())

    cache.put(POD, changed(raw_pod(role, attempt=attempt), ownerReferences=[]))

    assert [pod.uid for pod in cache.observe(UID).pods] == [f"pod-{role.value}-{attempt}-0"]


def test_a_rank_that_has_lost_its_job_is_known_by_a_name_that_kubernetes_has_cut() -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest(LONG))
    rank = raw_pod(Role.TRAIN, attempt=1000, index=10)
    base = names.base(a_job(LONG).metadata)

    cache.put(POD, changed(rank, name=f"{base}-train-10-10-x7k2q", ownerReferences=[]))

    assert [pod.attempt for pod in cache.observe(UID).pods] == [1000]


def test_a_pod_of_a_job_of_ours_is_ours_whatever_its_labels_say() -> None:
    cache = with_a_gang()

    uid = cache.put(POD, changed(RANK, uid="y", name="z", labels={keys.LABEL_JOB_UID: "another"}))

    assert (uid, len(cache.observe(UID).pods)) == (UID, 3)


def test_of_a_job_that_has_ended_only_what_removes_its_children_is_kept() -> None:
    cache = with_a_gang()
    cache.note_polled(Target(uid=UID, attempt=1, address="127.0.0.1"), answer(1), at=0)
    status = while_training().status.model_copy(update={"phase": Phase.SUCCEEDED})

    cache.put(FINETUNE_JOB, versioned(manifest(status=status), 20))
    cache.put(POD, versioned(raw_pod(Role.TRAIN, attempt=1, index=2), 10, **WAITING))

    observed = cache.observe(UID)
    assert (len(observed.jobs), [pod.uid[-1] for pod in observed.pods]) == (1, ["0", "1", "2"])
    assert [(pod.phase, pod.address, pod.containers) for pod in observed.pods] == [("Running", "", ())] * 3
    assert observed.progress is None


def a_whole_run() -> list[tuple[Kind, str]]:
    """Return a job on two nodes that has ended, its Jobs and its pods, as JSON."""
    status = while_training().status.model_copy(update={"phase": Phase.SUCCEEDED})
    found = [(FINETUNE_JOB, manifest(status=status))]
    for role, attempt, num_pods in ((Role.PREPARE, 0, 1), (Role.TRAIN, 1, 2), (Role.PUBLISH, 0, 1)):
        found.append((JOB, raw_job(role, attempt=attempt)))
        found += [(POD, raw_pod(role, attempt=attempt, index=index)) for index in range(num_pods)]
    return [(kind, json.dumps(one)) for kind, one in found]


def test_a_thousand_jobs_that_have_ended_take_less_than_16_mb() -> None:
    cache, run = Cache(now=Clock()), a_whole_run()
    uids = [f"{number:08}{UID[8:]}" for number in range(1000)]
    tracemalloc.start()

    for number, uid in enumerate(uids):
        for kind, text in run:
            own = text.replace(UID, uid).replace('"uid": "uid-', f'"uid": "uid-{number}-')
            cache.put(kind, json.loads(own.replace('"uid": "pod-', f'"uid": "pod-{number}-')))
    gc.collect()
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert cache.uids() == uids
    assert {(len(found.jobs), len(found.pods)) for found in map(cache.observe, uids)} == {(3, 4)}
    assert taken_bytes < 16e6


def test_of_a_job_that_has_ended_what_its_track_pod_says_is_kept() -> None:
    cache = Cache(now=Clock())
    status = while_training().status.model_copy(update={"phase": Phase.SUCCEEDED})

    cache.put(FINETUNE_JOB, versioned(manifest(status=status), 20))
    cache.put(JOB, versioned(raw_job(Role.TRACK), 21))
    cache.put(POD, versioned(raw_pod(Role.TRACK), 22, **WAITING))

    (pod,) = cache.observe(UID).pods
    assert (pod.role, [one.waiting_reason != "" for one in pod.containers]) == (Role.TRACK, [True])


def test_a_manifest_is_kept_without_what_nobody_here_reads() -> None:
    cache = Cache(now=Clock())
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "x"}

    cache.put(FINETUNE_JOB, changed(manifest(), managedFields=[{"a": 1}], annotations=annotations, labels={"a": "b"}))

    assert list(cache.jobs()) == [cache.job(UID)] == [manifest()]


@pytest.mark.parametrize(
    ("namespace", "spec", "is_shared"),
    [
        ("search", {"storage": {"existingClaim": f"{BASE}-workspace"}}, True),
        ("search", {"model": {"source": f"pvc://{BASE}-workspace/train/model"}}, True),
        ("search", {"data": {"train": [{"name": "a", "source": f"pvc://{BASE}-workspace"}]}}, True),
        ("search", {"storage": {"existingClaim": f"{BASE}-workspace-2"}}, False),
        ("search", {"model": {"source": f"pvc://{BASE}-workspace-2/train/model"}}, False),
        ("search", {"model": {"source": f"hf://acme/{BASE}-workspace"}}, False),
        ("elsewhere", {"storage": {"existingClaim": f"{BASE}-workspace"}}, False),
    ],
)
def test_a_claim_that_another_job_of_the_namespace_names_is_known_once_its_own_job_has_ended(
    namespace: str, spec: dict[str, Any], is_shared: bool
) -> None:
    cache = Cache(now=Clock())
    status = while_training().status.model_copy(update={"phase": Phase.SUCCEEDED})
    cache.put(FINETUNE_JOB, manifest(status=status, model={"source": f"pvc://{BASE}-workspace/kept"}))
    alone = cache.observe(UID).is_claim_shared

    cache.put(FINETUNE_JOB, changed(manifest("other", **spec), uid="other", namespace=namespace))

    assert (alone, cache.observe(UID).is_claim_shared) == (False, is_shared)


def test_after_a_start_jobs_that_have_ended_are_looked_at_last() -> None:
    cache = Cache(now=Clock())
    for number, phase in enumerate(("Succeeded", "Training", "Failed", "Queued")):
        found = versioned(manifest(), 10 + number, phase=phase)
        found["metadata"]["uid"] = phase
        cache.put(FINETUNE_JOB, found)

    assert cache.uids() == ["Training", "Queued", "Succeeded", "Failed"]


def test_a_complaint_of_a_pod_is_dated_from_when_it_was_first_seen() -> None:
    clock = Clock()
    cache = Cache(now=clock)
    cache.put(POD, versioned(raw_pod(Role.TRAIN), 10, **WAITING))
    clock.now = at(30)
    cache.put(POD, versioned(raw_pod(Role.TRAIN), 11, **WAITING))

    (trouble,) = cache.observe(UID).troubles

    message = f"pod {BASE}-train-0-0-x7k2q: no"
    assert trouble == Trouble(pod_uid="pod-train-0-0", reason=Reason.IMAGE_UNAVAILABLE, message=message, since=T0)


def test_a_complaint_that_passed_is_forgotten() -> None:
    cache = Cache(now=Clock())
    cache.put(POD, versioned(raw_pod(Role.TRAIN), 10, **WAITING))

    cache.put(POD, versioned(raw_pod(Role.TRAIN), 11))

    assert cache.observe(UID).troubles == ()


def test_a_refusal_goes_with_its_job() -> None:
    cache = Cache(now=Clock())
    job = raw_job(Role.PREPARE)
    cache.put(JOB, job)
    (view,) = cache.observe(UID).jobs

    cache.note_refusal(UID, view, "")
    unknown = cache.observe(UID).refusals
    cache.note_refusal(UID, view, "exceeded quota")
    known = cache.observe(UID).refusals
    cache.note_refusal(UID, replace(view, is_suspended=True), "no quota")
    held = cache.observe(UID).refusals
    cache.put(FINETUNE_JOB, manifest())
    cache.drop(JOB, job["metadata"]["uid"])

    assert (unknown, known) == ((), (Refusal(job_uid=view.uid, message="exceeded quota"),))
    assert held == (Refusal(job_uid=view.uid, message="no quota", is_of_queue=True),)
    assert cache.observe(UID) == Observed()


def test_only_rank_0_of_the_gang_that_trains_is_asked_for_progress() -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest(status=while_training().status))
    for attempt, index in ((1, 0), (1, 1), (2, 0)):
        cache.put(POD, raw_pod(Role.TRAIN, attempt=attempt, index=index))

    assert cache.targets() == [Target(uid=UID, attempt=1, address="127.0.0.1", pod_uid="pod-train-1-0")]


def test_the_pod_that_prepares_is_asked_for_progress_and_nobody_else() -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest(status=FinetuneJobStatus(phase=Phase.PREPARING)))
    for pod in (
        raw_pod(Role.PREPARE),
        changed(raw_pod(Role.PREPARE), uid="before") | {"status": {"phase": "Failed", "podIP": "127.0.0.2"}},
        raw_pod(Role.PUBLISH),
        raw_pod(Role.TRAIN, attempt=1),
    ):
        cache.put(POD, pod)

    assert cache.targets() == [Target(uid=UID, attempt=0, address="127.0.0.1", pod_uid="pod-prepare-0-0")]


def test_nobody_is_asked_while_nothing_trains() -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest())
    cache.put(POD, raw_pod(Role.TRAIN, attempt=1))

    assert cache.targets() == []


def test_answers_are_kept_and_silence_only_once_it_is_one() -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest())
    target = Target(uid=UID, attempt=1, address="", pod_uid="pod")

    is_news = [cache.note_polled(target, answer(5), at=0), cache.note_polled(target, answer(5), at=10)]
    is_news += [cache.note_polled(target, "refused", at=at) for at in (20, 50, 80, 110)]

    assert is_news == [True, True, False, False, True, False]
    assert cache.observe(UID).progress == ProgressReport(
        attempt=1,
        pod_uid="pod",
        progress=answer(5),
        seen_still_seconds=10,
        answered_at=10,
        num_unanswered=4,
        silent_since=20,
        silence="refused",
    )


@pytest.mark.parametrize(("attempt", "pod_uid"), [(2, "pod"), (1, "another pod")])
def test_a_new_gang_and_a_new_pod_start_their_own_count(attempt: int, pod_uid: str) -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest())
    for at_seconds in (0, 50):
        cache.note_polled(Target(uid=UID, attempt=1, address="", pod_uid="pod"), answer(90), at=at_seconds)

    cache.note_polled(Target(uid=UID, attempt=attempt, address="", pod_uid=pod_uid), "refused", at=500)

    expected = ProgressReport(attempt=attempt, pod_uid=pod_uid, num_unanswered=1, silent_since=500)
    assert cache.observe(UID).progress == expected


def test_what_a_pod_answered_goes_with_it() -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest(status=while_training().status))
    cache.put(POD, raw_pod(Role.TRAIN, attempt=1))
    (target,) = cache.targets()
    cache.note_polled(target, answer(90), at=0)

    cache.drop(POD, "pod-train-1-0")

    assert cache.observe(UID).progress is None


def test_a_rank_0_that_is_being_deleted_is_not_asked() -> None:
    cache = Cache(now=Clock())
    cache.put(FINETUNE_JOB, manifest(status=while_training().status))
    pod = raw_pod(Role.TRAIN, attempt=1)
    pod["metadata"]["deletionTimestamp"] = "2026-11-23T09:00:00Z"

    cache.put(POD, pod)

    assert cache.targets() == []


def test_what_is_known_already_or_changes_nothing_that_is_kept_is_no_news() -> None:
    """A write of the operator's own comes back over the watch, and the Job controller counts pods in each Job."""
    cache = Cache(now=Clock())
    job, child = versioned(manifest(), 10), versioned(raw_job(Role.TRAIN, attempt=1), 11)

    first = [cache.put(FINETUNE_JOB, job), cache.put(JOB, child)]
    echoes = [cache.put(FINETUNE_JOB, job), cache.put(JOB, child)]
    counted = cache.put(JOB, versioned(child, 12, active=2, ready=1))
    ended = cache.put(JOB, versioned(child, 13, conditions=[{"type": "Complete", "status": "True"}]))

    assert (first, echoes, counted, ended) == ([UID, UID], ["", ""], "", UID)


def test_jobs_can_be_read_by_another_thread_while_they_come_and_go() -> None:
    cache = Cache(now=Clock())
    for index in range(3):
        cache.put(FINETUNE_JOB, changed(manifest(), uid=f"uid-{index}"))

    read = cache.jobs()
    found = [next(read)["metadata"]["uid"]]
    cache.drop(FINETUNE_JOB, "uid-1")
    cache.put(FINETUNE_JOB, changed(manifest(), uid="uid-3"))

    assert [*found, *(job["metadata"]["uid"] for job in read)] == ["uid-0", "uid-2"]


def test_a_job_that_is_gone_or_changed_is_nobodys_neighbour_for_what_it_was() -> None:
    """Whom a look concerns is found without a look at all jobs, so what is found by has to be up to date."""
    cache, shared = Cache(now=Clock()), {"existingClaim": "models", "subPath": "team"}
    first = changed(manifest(storage=shared), uid="uid-first", name="first")
    other = changed(manifest(storage={**shared, "subPath": "other"}), uid="uid-other", name="other")
    for job in (first, other):
        cache.put(FINETUNE_JOB, job)

    cache.put(FINETUNE_JOB, versioned(changed(other, uid="uid-other"), 20))
    known = set(cache._neighbours._uids)
    for uid in ("uid-first", "uid-other"):
        cache.drop(FINETUNE_JOB, uid)

    assert ("folder", "search", "models/team") in known
    assert (cache._neighbours._uids, cache._families) == ({}, {})
