"""Pods that do not start."""

import pytest

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_operator.core.observed import ContainerView
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
        (waiting("CreateContainerConfigError", "not found"), Reason.SECRET_NOT_FOUND),
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
    problem = explain_events(a_pod(Role.PREPARE), ["Successfully assigned", message])

    assert problem == StartProblem(Reason.SECRET_NOT_FOUND, f"pod prepare-0-0: {message}")


def test_other_events_explain_nothing() -> None:
    assert explain_events(a_pod(Role.PREPARE), ["Pulling image", 'configmap "x" not found']) is None
