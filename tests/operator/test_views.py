"""Views made from Jobs and Pods as the API server shows them."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from finetune_api import keys
from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_operator.core.failures import pod_failure
from finetune_operator.core.observed import ContainerView, JobView, PodView, Termination
from finetune_operator.core.views import job_view, pod_view, reduce_view
from tests.operator.given import T0, UID, at, raw_job, raw_pod

TIME = "2026-11-23T09:00:00Z"
OWNER = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneJob", "uid": UID, "controller": True}
LABELS = {
    keys.LABEL_JOB_UID: UID,
    keys.LABEL_ROLE: "train",
    keys.LABEL_ATTEMPT: "2",
    keys.LABEL_COMPLETION_INDEX: "1",
}


def seen(status: dict[str, Any], **metadata: object) -> dict[str, Any]:
    return {
        "metadata": {"name": "a", "uid": "b", "resourceVersion": "5", "labels": LABELS, **metadata},
        "spec": {"nodeName": "node-2"},
        "status": status,
    }


@pytest.mark.parametrize(
    ("suspend", "conditions", "since"),
    [
        (True, [], T0),
        (True, [{"type": "Suspended", "status": "True", "lastTransitionTime": "2026-11-23T09:01:00Z"}], at(60)),
        (False, [{"type": "Suspended", "status": "True", "lastTransitionTime": "2026-11-23T09:01:00Z"}], at(60)),
        (False, [{"type": "Suspended", "status": "False", "lastTransitionTime": "2026-11-23T09:01:00Z"}], None),
    ],
    ids=["made suspended", "suspended later", "to be resumed", "resumed"],
)
def test_a_job_is_held_since_it_was_suspended(
    suspend: bool, conditions: list[dict[str, Any]], since: datetime | None
) -> None:
    view = job_view(
        seen({"conditions": conditions}, creationTimestamp=TIME, ownerReferences=[OWNER])
        | {"spec": {"suspend": suspend}}
    )

    assert view is not None
    assert view.held_since == since


def test_a_pod_that_ended_is_read_with_its_last_words() -> None:
    result = RunResult(role=Role.TRAIN, reason=Reason.TRAINED, attempt=2)
    terminated = {"exitCode": 0, "reason": "Completed", "finishedAt": TIME, "message": result.to_termination_message()}
    containers = [{"name": "train", "state": {"terminated": terminated}}]

    view = pod_view(seen({"phase": "Succeeded", "podIP": "10.0.0.1", "containerStatuses": containers}))

    end = Termination(exit_code=0, reason="Completed", finished_at=T0, result=result)
    assert view == PodView(
        name="a",
        uid="b",
        resource_version=5,
        role=Role.TRAIN,
        attempt=2,
        index=1,
        phase="Succeeded",
        address="10.0.0.1",
        node="node-2",
        containers=(ContainerView(name="train", termination=end),),
    )


@pytest.mark.parametrize("code", [0, 11])
def test_a_pod_that_ends_a_moment_after_its_only_container_is_held_by_nothing(code: int) -> None:
    containers = [{"name": "train", "state": {"terminated": {"exitCode": code}}}]
    started = [{"name": "istio-proxy", "state": {"running": {}}}]  # a native sidecar, which the kubelet stops

    view = pod_view(seen({"phase": "Running", "containerStatuses": containers, "initContainerStatuses": started}))

    assert view is not None
    assert (view.phase, view.is_held) == ("Failed" if code else "Succeeded", False)


@pytest.mark.parametrize(
    ("code", "phase", "seen_as"),
    [
        (0, "Running", ("Succeeded", True)),
        (19, "Running", ("Failed", True)),
        (0, "Failed", ("Succeeded", True)),
        (0, "Succeeded", ("Succeeded", False)),
        (None, "Running", ("Running", False)),
        (None, "Failed", ("Failed", False)),
    ],
)
def test_the_container_of_the_role_decides_how_a_pod_ended_whatever_is_beside_it(
    code: int | None, phase: str, seen_as: tuple[str, bool]
) -> None:
    own = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
    sidecar = {"running": {}} if phase == "Running" else {"terminated": {"exitCode": 1}}
    containers = [{"name": "istio-proxy", "state": sidecar}, {"name": "train", "state": own}]

    view = pod_view(seen({"phase": phase, "containerStatuses": containers}))

    assert view is not None
    assert (view.phase, view.is_held) == seen_as


def test_a_pod_that_the_cluster_takes_away_is_read_with_the_reason() -> None:
    disruption = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "words"}

    view = pod_view(seen({"phase": "Running", "conditions": [disruption]}, deletionTimestamp="2026-11-23T09:01:00Z"))

    assert view is not None
    assert (view.disruption, view.disruption_message, view.gone_at) == ("PreemptionByScheduler", "words", at(60))


def test_a_pod_without_a_node_is_read_with_the_schedulers_words() -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    scheduled["lastTransitionTime"] = TIME

    view = pod_view(seen({"phase": "Pending", "conditions": [scheduled]}))

    assert view is not None
    assert (view.unscheduled, view.unscheduled_since, view.scheduled_at) == ("0/2 nodes", T0, None)


def test_words_that_are_no_result_are_no_result() -> None:
    terminated = {"exitCode": 1, "finishedAt": TIME, "message": "Traceback (most recent call last): ..."}

    view = pod_view(
        seen({"phase": "Failed", "containerStatuses": [{"name": "t", "state": {"terminated": terminated}}]})
    )

    assert view is not None
    assert view.containers == (ContainerView(name="t", termination=Termination(exit_code=1, finished_at=T0)),)


def test_a_container_that_was_lost_with_its_node_has_ended_though_it_is_said_to_be_created() -> None:
    """As the kubelet of a node that was booted anew tells it at first, and two seconds later."""
    end = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    first = {"name": "train", "state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {"terminated": end}}
    then = {"name": "train", "state": {"terminated": end}}

    views = [pod_view(seen({"phase": "Failed", "containerStatuses": [one]})) for one in (first, then)]

    failures = [pod_failure(view) for view in views if view is not None]
    assert [failure and failure.reason for failure in failures] == [Reason.NODE_LOST, Reason.NODE_LOST]
    assert len({failure and failure.message for failure in failures}) == 1


def test_an_earlier_end_of_a_container_that_runs_again_is_of_no_account() -> None:
    end = {"exitCode": 137, "reason": "ContainerStatusUnknown"}
    running = {"name": "train", "state": {"running": {}}, "lastState": {"terminated": end}}

    view = pod_view(seen({"phase": "Running", "containerStatuses": [running]}))

    assert view is not None
    assert view.containers == (ContainerView(name="train", running=True),)


def test_init_containers_come_first() -> None:
    init = {"name": "preflight", "state": {"running": {}}}
    main = {"name": "prepare", "state": {"running": {}}}

    view = pod_view(seen({"initContainerStatuses": [init], "containerStatuses": [main]}))

    assert view is not None
    assert [(container.name, container.running) for container in view.containers] == [
        ("preflight", True),
        ("prepare", True),
    ]


def test_a_failed_job_is_read_with_the_controllers_words() -> None:
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "PodFailurePolicy",
        "message": "Pod x has condition DisruptionTarget",
        "lastTransitionTime": TIME,
    }

    assert job_view(seen({"conditions": [failed]}, ownerReferences=[OWNER])) == JobView(
        name="a",
        uid="b",
        owner_uid=UID,
        resource_version=5,
        role=Role.TRAIN,
        attempt=2,
        is_failed=True,
        failure="PodFailurePolicy: Pod x has condition DisruptionTarget",
        finished_at=T0,
    )


def test_a_job_that_makes_pods_is_read_with_their_number_and_its_start() -> None:
    manifest = seen({"startTime": TIME}, ownerReferences=[OWNER]) | {"spec": {"parallelism": 2}}

    view = job_view(manifest)

    assert view is not None
    assert (view.num_pods, view.started_at, view.is_finished) == (2, T0, False)


@pytest.mark.parametrize(("spec", "expected"), [({"schedulingGroup": {"podGroupName": "a"}}, True), ({}, False)])
def test_a_job_whose_pods_belong_to_a_pod_group_is_read_as_such(spec: dict[str, Any], *, expected: bool) -> None:
    view = job_view(seen({}, ownerReferences=[OWNER]) | {"spec": {"template": {"spec": spec}}})

    assert view is not None
    assert view.is_gang_scheduled is expected


@pytest.mark.parametrize(
    "owner",
    [
        OWNER | {"controller": False},
        OWNER | {"kind": "Workflow"},
        OWNER | {"apiVersion": "finetune.dev.example/v1"},
        OWNER | {"apiVersion": "batch/v1"},
    ],
    ids=["not its controller", "another kind", "another group", "the core of Kubernetes"],
)
def test_a_job_that_no_finetunejob_controls_is_a_strangers_whatever_its_labels_say(owner: dict[str, Any]) -> None:
    assert job_view(seen({}, ownerReferences=[owner])) is None


def test_a_pod_that_something_else_than_a_job_controls_is_a_strangers() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "c", "controller": True}

    assert pod_view(seen({}, ownerReferences=[owner])) is None


def test_what_a_job_that_has_ended_needs_no_more_is_left_out() -> None:
    running = [{"name": "train", "state": {"running": {}}}]
    pod = pod_view(seen({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": running, "message": "words"}))
    assert pod is not None

    assert reduce_view(pod) == replace(pod, address="", containers=(), note="")


@pytest.mark.parametrize(
    ("ready", "containers_ready", "is_unheard"),
    [("False", "True", True), ("False", "False", False), ("True", "True", False)],
)
def test_a_pod_whose_node_is_silent_is_not_ready_although_its_containers_are(
    ready: str, containers_ready: str, *, is_unheard: bool
) -> None:
    found = [{"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": containers_ready}]

    view = pod_view(raw_pod(Role.TRAIN, attempt=1, conditions=found))

    assert view is not None
    assert view.is_unheard == is_unheard


def test_a_pod_was_told_to_go_before_its_grace_period() -> None:
    manifest = raw_pod(Role.TRAIN, attempt=1)
    manifest["metadata"] |= {"deletionTimestamp": "2026-11-23T09:01:00Z", "deletionGracePeriodSeconds": 50}

    view = pod_view(manifest)

    assert view is not None
    assert (view.gone_at, view.left_at) == (at(60), at(10))


def test_only_the_finalizers_of_others_keep_a_job() -> None:
    manifest = raw_job(Role.TRAIN, attempt=1)
    manifest["metadata"] |= {"deletionTimestamp": "2026-11-23T09:01:00Z", "finalizers": ["foregroundDeletion", "x/y"]}

    view = job_view(manifest)

    assert view is not None
    assert (view.gone_at, view.finalizers) == (at(60), ("x/y",))
