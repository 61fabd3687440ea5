"""Pods that do not start."""

import pytest

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_operator.core.observed import ContainerView, Notice
from finetune_operator.core.waiting import StartProblem, explain_events, is_stuck, start_problem
from tests.operator.given import T0, a_pod, at


def waiting(reason: str, message: str = "") -> tuple[ContainerView]:
    return (ContainerView(name="prepare", waiting_reason=reason, waiting_message=message),)


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        (waiting("ErrImagePull", "not found"), Reason.IMAGE_UNAVAILABLE),
        (waiting("ImagePullBackOff", "not found"), Reason.IMAGE_UNAVAILABLE),
        (waiting("InvalidImageName", "not found"), Reason.IMAGE_UNAVAILABLE),
        (waiting("CreateContainerConfigError", "not found"), Reason.POD_NOT_STARTED),
        (waiting("CreateContainerError", "not found"), Reason.POD_NOT_STARTED),
        (waiting("RunContainerError", "not found"), Reason.POD_NOT_STARTED),
    ],
)
def test_what_a_pod_complains_about_is_understood(container: tuple[ContainerView], reason: Reason) -> None:
    assert start_problem(a_pod(Role.PREPARE, containers=container)) == StartProblem(
        reason, "pod prepare-0-0: not found"
    )


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", ""])
def test_a_pod_that_is_being_made_does_not_complain(reason: str) -> None:
    assert start_problem(a_pod(Role.PREPARE, containers=waiting(reason))) is None


def test_a_pod_is_stuck_when_it_has_had_a_node_but_no_container_for_a_minute() -> None:
    pod = a_pod(Role.PREPARE, containers=waiting("ContainerCreating"), scheduled_at=T0)
    running = a_pod(Role.PREPARE, containers=(ContainerView(name="prepare", running=True),), scheduled_at=T0)
    queued = a_pod(Role.PREPARE, containers=())

    assert [is_stuck(pod, at(59)), is_stuck(pod, at(60)), is_stuck(running, at(60)), is_stuck(queued, at(60))] == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "message",
    [
        'MountVolume.SetUp failed for volume "write-token" : secret "hub-token" not found',
        'MountVolume.SetUp failed for volume "write-token" : references non-existent secret key: token',
    ],
)
def test_a_missing_secret_is_found_in_the_events(message: str) -> None:
    notices = [Notice(message="Successfully assigned", is_warning=False), Notice(message=message)]

    problem = explain_events(a_pod(Role.PREPARE), notices)

    assert problem == StartProblem(Reason.SECRET_NOT_FOUND, f"pod prepare-0-0: {message}")


def test_a_missing_secret_is_told_as_one_by_the_container_too() -> None:
    problem = start_problem(
        a_pod(Role.PUBLISH, containers=waiting("CreateContainerConfigError", 'secret "hub-token" not found'))
    )

    assert problem is not None
    assert problem.reason == Reason.SECRET_NOT_FOUND


def test_the_newest_warning_says_why_a_pod_is_not_made() -> None:
    warnings = [Notice(message="old", seen_at=at(1)), Notice(message='configmap "x" not found', seen_at=at(2))]

    problem = explain_events(a_pod(Role.PREPARE, scheduled_at=T0), warnings)

    assert problem == StartProblem(Reason.POD_NOT_STARTED, 'pod prepare-0-0: configmap "x" not found')


@pytest.mark.parametrize(
    "notices",
    [
        [],
        [Notice(message="0/2 nodes are available", seen_at=at(-5))],
        [Notice(message="Multi-Attach error", seen_at=at(1)), Notice(message="Pulling", is_warning=False)],
    ],
    ids=["no events", "before it had a node", "what went on afterwards"],
)
def test_what_is_over_explains_nothing(notices: list[Notice]) -> None:
    assert explain_events(a_pod(Role.PREPARE, scheduled_at=T0), notices) is None
