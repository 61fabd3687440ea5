"""Which failure is believed, whose fault it is, and which budget pays."""

from dataclasses import replace

import pytest

from finetune_api.contract import EXIT_CODES, Role
from finetune_api.reasons import GUIDANCE, Reason
from finetune_operator.core.budgets import Budget, budget_of
from finetune_operator.core.failures import find_failure, pod_failure
from finetune_operator.core.observed import ContainerView, PodView, Termination
from tests.operator.given import a_child, a_pod, a_result, at, ended


def rank(index: int = 0, code: int = 1, seconds: float = 0, reason: Reason | None = None, runtime: str = "") -> PodView:
    result = a_result(Role.TRAIN, reason, "words") if reason else None
    containers = ended(code, result, seconds=seconds, reason=runtime)
    return a_pod(Role.TRAIN, index=index, attempt=1, phase="Failed", containers=containers)


@pytest.mark.parametrize(
    ("pod", "reason", "budget"),
    [
        (rank(code=137), Reason.RANK_KILLED, Budget.INFRASTRUCTURE),
        (rank(code=137, runtime="OOMKilled"), Reason.OUT_OF_MEMORY, Budget.USER_ERRORS),
        (rank(code=143), Reason.PREEMPTED, Budget.INFRASTRUCTURE),
        (rank(code=17, reason=Reason.PREEMPTED), Reason.PREEMPTED, Budget.INFRASTRUCTURE),
        (rank(code=17), Reason.PREEMPTED, Budget.INFRASTRUCTURE),
        (replace(rank(code=143), gone_at=at(60)), Reason.PREEMPTED, Budget.FREE),
        (replace(rank(code=17, reason=Reason.PREEMPTED), gone_at=at(60)), Reason.PREEMPTED, Budget.FREE),
        (replace(rank(code=143), disruption="EvictionByEvictionAPI"), Reason.PREEMPTED, Budget.FREE),
        (replace(rank(code=19, reason=Reason.TRAINER_ERROR), gone_at=at(60)), Reason.TRAINER_ERROR, Budget.USER_ERRORS),
        (rank(code=18, reason=Reason.PEER_LOST), Reason.PEER_LOST, Budget.INFRASTRUCTURE),
        (rank(code=19, reason=Reason.TRAINER_ERROR), Reason.TRAINER_ERROR, Budget.USER_ERRORS),
        (rank(code=16, reason=Reason.OUT_OF_MEMORY), Reason.OUT_OF_MEMORY, Budget.USER_ERRORS),
        (rank(code=139), Reason.TRAINER_ERROR, Budget.USER_ERRORS),
        (rank(code=3), Reason.TRAINER_ERROR, Budget.USER_ERRORS),
        (rank(code=1), Reason.INTERNAL_ERROR, Budget.USER_ERRORS),
        (rank(code=15), Reason.NON_FINITE_LOSS, Budget.USER_ERRORS),
        (rank(code=11), Reason.BAD_SAMPLES, Budget.USER_ERRORS),
        (rank(code=23, reason=Reason.NODE_FAULT), Reason.NODE_FAULT, Budget.INFRASTRUCTURE),
        (rank(code=24, reason=Reason.STORAGE_FAULT), Reason.STORAGE_FAULT, Budget.INFRASTRUCTURE),
        (rank(code=23), Reason.NODE_FAULT, Budget.INFRASTRUCTURE),
        (rank(code=255, runtime="Unknown"), Reason.NODE_LOST, Budget.INFRASTRUCTURE),
        (rank(code=137, runtime="ContainerStatusUnknown"), Reason.NODE_LOST, Budget.INFRASTRUCTURE),
        (rank(code=255, runtime="Error"), Reason.TRAINER_ERROR, Budget.USER_ERRORS),
        (rank(code=128, runtime="StartError"), Reason.NODE_FAULT, Budget.INFRASTRUCTURE),
        (rank(code=127, runtime="ContainerCannotRun"), Reason.NODE_FAULT, Budget.INFRASTRUCTURE),
    ],
)
def test_the_end_of_a_container_tells_the_reason_and_who_pays(pod: PodView, reason: Reason, budget: Budget) -> None:
    failure = pod_failure(pod)

    assert failure is not None
    assert (failure.reason, budget_of(failure)) == (reason, budget)


@pytest.mark.parametrize(
    ("condition", "message", "reason"),
    [
        ("PreemptionByScheduler", "", Reason.PREEMPTED),
        ("EvictionByEvictionAPI", "", Reason.PREEMPTED),
        ("DeletionByTaintManager", "node.kubernetes.io/unreachable", Reason.NODE_LOST),
        ("DeletionByPodGC", "node not found", Reason.NODE_LOST),
        ("TerminationByKubelet", "Pod was terminated in response to imminent node shutdown.", Reason.PREEMPTED),
        ("TerminationByKubelet", "The node was low on resource: memory.", Reason.RANK_KILLED),
    ],
)
def test_a_disruption_is_told_from_an_error(condition: str, message: str, reason: Reason) -> None:
    still_running = a_pod(Role.TRAIN, phase="Running", disruption=condition, disruption_message=message)
    ended_since = replace(still_running, phase="Failed", containers=ended(143))

    found = [pod_failure(still_running), pod_failure(ended_since)]

    assert [failure and failure.reason for failure in found] == [reason, reason]


def test_a_final_reason_of_the_trainer_wins_over_a_disruption_that_came_on_top() -> None:
    pod = replace(rank(code=15, reason=Reason.NON_FINITE_LOSS), disruption="EvictionByEvictionAPI")

    failure = pod_failure(pod)

    assert failure is not None
    assert failure.reason == Reason.NON_FINITE_LOSS


@pytest.mark.parametrize("phase", ["Pending", "Running", "Succeeded"])
def test_a_pod_that_is_well_has_no_failure(phase: str) -> None:
    assert pod_failure(a_pod(Role.TRAIN, phase=phase)) is None


@pytest.mark.parametrize(
    ("note", "reason", "budget"),
    [
        ("UnexpectedAdmissionError: no healthy devices present", Reason.NODE_FAULT, Budget.INFRASTRUCTURE),
        ("OutOfcpu: Node didn't have enough resource: cpu", Reason.RANK_KILLED, Budget.INFRASTRUCTURE),
        ("NodeLost: Node node-1 which was running it is unresponsive", Reason.NODE_LOST, Budget.INFRASTRUCTURE),
        ("Evicted: The node was low on resource: memory.", Reason.RANK_KILLED, Budget.INFRASTRUCTURE),
        (
            'Evicted: Usage of EmptyDir volume "shared-memory" exceeds the limit "2Gi"',
            Reason.LIMIT_EXCEEDED,
            Budget.USER_ERRORS,
        ),
        (
            "Evicted: Pod ephemeral local storage usage exceeds the total limit of containers 10Gi",
            Reason.LIMIT_EXCEEDED,
            Budget.USER_ERRORS,
        ),
        (
            'Evicted: Container train exceeded its local ephemeral storage limit "1Gi"',
            Reason.LIMIT_EXCEEDED,
            Budget.USER_ERRORS,
        ),
    ],
)
def test_a_pod_that_its_node_did_not_keep_is_told_in_the_kubelets_words_whatever_its_exit_code(
    note: str, reason: Reason, budget: Budget
) -> None:
    pods = [a_pod(Role.TRAIN, phase="Failed", note=note), *(replace(rank(code=code), note=note) for code in (137, 143))]

    for pod in pods:
        failure = pod_failure(pod)

        assert failure is not None
        assert (failure.reason, budget_of(failure)) == (reason, budget)
        assert f"was not kept by its node ({note.rstrip('.')})" in failure.message


def test_a_container_that_could_not_be_started_is_told_in_the_runtimes_words() -> None:
    end = Termination(exit_code=128, reason="StartError", words="nvidia-container-cli: initialization error")
    pod = a_pod(Role.TRAIN, phase="Failed", containers=(ContainerView(name="main", termination=end),))

    failure = pod_failure(pod)

    assert failure is not None
    assert failure.message.startswith(
        "rank 0 (pod train-0-0 on node-1) could not be started (nvidia-container-cli: initialization error)."
    )


def test_a_container_of_the_clusters_own_that_fails_before_ours_is_named() -> None:
    end = Termination(exit_code=7)
    pod = a_pod(Role.TRAIN, phase="Failed", containers=(ContainerView(name="istio-init", termination=end),))

    failure = pod_failure(pod)

    assert failure is not None
    assert failure.reason == Reason.RANK_KILLED
    assert "ended without running (container istio-init with exit code 7)" in failure.message


def test_the_first_failure_is_the_cause() -> None:
    pods = [rank(0, code=19, seconds=5, reason=Reason.TRAINER_ERROR), rank(1, code=137, seconds=2)]

    failure = find_failure(pods, None)

    assert failure is not None
    assert failure.reason == Reason.RANK_KILLED
    assert failure.message.startswith("rank 1 (pod train-1-1 on node-1) was killed from outside with exit code 137")


def test_a_container_that_ends_with_the_code_of_the_local_command_crashed() -> None:
    failure = find_failure([rank(0, code=2)], None)

    assert failure is not None
    assert failure.reason == Reason.TRAINER_ERROR
    assert failure.message.startswith("rank 0 (pod train-1-0 on node-1) crashed with exit code 2.")


@pytest.mark.parametrize("code", [137, 143])
def test_ranks_that_were_ended_because_of_another_never_hide_it(code: int) -> None:
    consequence = replace(rank(0, code=code, seconds=0), gone_at=at(60))
    cause = rank(1, code=19, seconds=3, reason=Reason.TRAINER_ERROR)

    failure = find_failure([consequence, cause], None)

    assert failure is not None
    assert failure.reason == Reason.TRAINER_ERROR


def test_a_rank_that_saved_after_being_told_to_stop_never_hides_the_cause() -> None:
    saved = rank(0, code=17, seconds=0, reason=Reason.PREEMPTED)
    cause = rank(1, code=137, seconds=3, runtime="OOMKilled")

    failure = find_failure([saved, cause], None)

    assert failure is not None
    assert failure.reason == Reason.OUT_OF_MEMORY


def test_a_lost_peer_counts_only_when_nothing_else_is_known() -> None:
    peers = [rank(index, code=18, reason=Reason.PEER_LOST) for index in range(2)]

    alone = find_failure(peers, None)
    beside = find_failure([*peers, a_pod(Role.TRAIN, index=2, phase="Running", gone_at=at(40), left_at=at(-10))], None)

    assert alone is not None
    assert alone.reason == Reason.PEER_LOST
    assert beside is not None
    assert (beside.reason, budget_of(beside)) == (Reason.PREEMPTED, Budget.FREE)


@pytest.mark.parametrize("code", [None, 143, 17])
def test_a_rank_that_is_removed_because_another_was_lost_makes_the_loss_neither_free_nor_its_own(
    code: int | None,
) -> None:
    lost = rank(0, code=18, reason=Reason.PEER_LOST, seconds=20)
    other = rank(1, code=code, seconds=30) if code else a_pod(Role.TRAIN, index=1, attempt=1, phase="Running")

    failure = find_failure([replace(other, gone_at=at(70), left_at=at(20)), lost], None)

    assert failure is not None
    assert (failure.reason, budget_of(failure)) == (Reason.PEER_LOST, Budget.INFRASTRUCTURE)


def test_a_rank_on_a_node_that_does_not_answer_is_lost_with_its_node_whoever_removes_it() -> None:
    peer = rank(0, code=18, reason=Reason.PEER_LOST, seconds=20)
    silent = a_pod(Role.TRAIN, index=1, attempt=1, phase="Running", gone_at=at(70), left_at=at(20), is_unheard=True)

    failure = find_failure([peer, silent], None)

    assert failure is not None
    assert (failure.reason, budget_of(failure)) == (Reason.NODE_LOST, Budget.INFRASTRUCTURE)


def test_a_failed_job_without_pods_is_an_unknown_loss() -> None:
    failure = find_failure([], a_child(Role.TRAIN, attempt=1, is_failed=True, failure="BackoffLimitExceeded"))

    assert failure is not None
    assert (failure.reason, failure.is_consequence) == (Reason.RANK_KILLED, True)
    assert "BackoffLimitExceeded" in failure.message


@pytest.mark.parametrize("reason", sorted(EXIT_CODES))
def test_every_failure_of_the_contract_is_taken_over_with_its_words(reason: Reason) -> None:
    failure = pod_failure(rank(1, code=int(EXIT_CODES[reason]), reason=reason))

    assert failure is not None
    assert (failure.reason, failure.message) == (reason, "rank 1: words")
    assert failure.is_retried == GUIDANCE[reason].retried
