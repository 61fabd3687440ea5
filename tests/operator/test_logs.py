"""Where a failed pod's log stays, told in the status: the pod itself is gone when people look."""

from typing import Any

import pytest

from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_api.status import ConditionType
from finetune_operator.core.observed import ContainerView, Observed, PodView, Termination
from tests.operator.given import (
    BASE,
    a_child,
    a_job,
    a_pod,
    a_report,
    a_result,
    at,
    condition,
    ended,
    look,
    while_training,
)

FOUR_EACH = {"resources": {"nodes": 2, "accelerator": {"perNode": 4}}}
CLAIM = "claim qwen-666ff6cc-workspace"


def failed(index: int, code: int, *, failed_rank: int | None = None) -> PodView:
    result = None
    if failed_rank is not None:
        result = a_result(Role.TRAIN, Reason.TRAINER_ERROR, "ValueError: boom", failed_rank=failed_rank)
    return a_pod(Role.TRAIN, index=index, attempt=1, phase="Failed", containers=ended(code, result))


def told_of_gang(*pods: PodView, **spec: Any) -> str:  # noqa: ANN401 - fields of a spec
    observed = Observed(jobs=(a_child(Role.TRAIN, attempt=1),), pods=pods)
    return condition(look(while_training(**spec), observed, now=at(60)).status, ConditionType.TRAINING).message


@pytest.mark.parametrize(
    ("pod", "spec", "place"),
    [
        (failed(1, 137), {}, f"logs/attempt-1/rank-1.log on {CLAIM}"),
        (failed(1, 19, failed_rank=1), {}, f"logs/attempt-1/rank-1.log on {CLAIM}"),
        (failed(1, 19, failed_rank=6), FOUR_EACH, f"logs/attempt-1/rank-6.log on {CLAIM}"),
        (failed(1, 137), FOUR_EACH, f"logs/attempt-1/rank-4.log on {CLAIM}"),
        (
            failed(0, 137),
            {"storage": {"existingClaim": "shared", "subPath": "jobs/7", "accessMode": "ReadWriteMany"}},
            "jobs/7/logs/attempt-1/rank-0.log on claim shared",
        ),
        (
            failed(0, 137),
            {"storage": {"existingClaim": "shared"}},
            f".finetune/search/{BASE}/logs/attempt-1/rank-0.log on claim shared",
        ),
    ],
)
def test_a_lost_attempt_says_where_the_log_of_the_rank_that_failed_stays(
    pod: PodView, spec: dict[str, Any], place: str
) -> None:
    assert told_of_gang(pod, **spec).endswith(f". Log: {place}")


def test_the_message_names_the_rank_that_failed_and_not_its_node() -> None:
    message = told_of_gang(failed(1, 19, failed_rank=6), **FOUR_EACH)

    assert message == f"rank 6: ValueError: boom. Log: logs/attempt-1/rank-6.log on {CLAIM}"


def test_a_stalled_gang_says_where_the_log_of_rank_0_stays() -> None:
    pods = tuple(a_pod(Role.TRAIN, index=index, attempt=1, phase="Running") for index in range(2))
    report = a_report(5, seen_still_seconds=7200.0)
    observed = Observed(jobs=(a_child(Role.TRAIN, attempt=1),), pods=pods, progress=report)

    found = condition(look(while_training(), observed, now=at(60)).status, ConditionType.TRAINING)

    assert found.reason == "ProgressStalled"
    assert found.message.endswith(f"Log: logs/attempt-1/rank-0.log on {CLAIM}")


def test_a_container_that_could_not_be_started_has_no_log() -> None:
    start_error = (ContainerView(name="train", termination=Termination(exit_code=128, reason="StartError")),)
    refused = a_pod(Role.TRAIN, attempt=1, phase="Failed", note="UnexpectedAdmissionError: no devices left")
    never_started = a_pod(Role.TRAIN, attempt=1, phase="Failed", containers=start_error)

    assert "Log:" not in told_of_gang(refused)
    assert "Log:" not in told_of_gang(never_started)


def test_preflight_which_sees_no_volume_has_no_log_there() -> None:
    result = a_result(Role.PREFLIGHT, Reason.WRITE_FORBIDDEN, "the token may not write")
    containers = (
        ContainerView(name="preflight", termination=Termination(exit_code=13, result=result)),
        ContainerView(name="prepare", waiting_reason="PodInitializing"),
    )
    pod = a_pod(Role.PREPARE, phase="Failed", containers=containers)

    decision = look(a_job(), Observed(jobs=(a_child(Role.PREPARE, is_failed=True),), pods=(pod,)))

    assert condition(decision.status, ConditionType.SUCCEEDED).message == "the token may not write"
