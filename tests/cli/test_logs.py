"""`finetune logs`: which pods are read, and what is left of those that are gone."""

from typing import Any

import pytest

from finetune_api.contract import ExitCode, Role
from finetune_cli.cluster.interleaving import interleaved
from finetune_cli.cluster.logs import Source, Wish, last_words, mounted_log, place, processes_per_node, settled, sources
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import Manifest, read_stored
from tests.cli.stored_jobs import FAILED, RERUN, TRAINING

JOB = read_stored(TRAINING)


def pod(role: str, *, attempt: int | None = None, index: int | None = None, at: int = 0, **status: Any) -> Manifest:  # noqa: ANN401
    labels = {"finetune.dev/role": role}
    labels |= {} if attempt is None else {"finetune.dev/attempt": str(attempt)}
    labels |= {} if index is None else {"batch.kubernetes.io/job-completion-index": str(index)}
    name = "-".join(str(part) for part in (role, attempt, index) if part is not None)
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": f"2026-11-23T09:00:{at:02}Z"},
        "status": {"containerStatuses": [{"name": role, "state": {"running": {}}}], **status},
    }


PODS = [
    pod("train", attempt=2, index=1, at=3),
    pod("prepare", at=0),
    pod("train", attempt=1, index=0, at=1),
    pod("train", attempt=2, index=0, at=2),
]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish(), ["train-2-0", "train-2-1"]),
        (Wish(role=Role.PREPARE), ["prepare"]),
        (Wish(role=Role.TRAIN), ["train-2-0", "train-2-1"]),
        (Wish(role=Role.TRAIN, attempt=1), ["train-1-0"]),
        (Wish(role=Role.TRAIN, rank=5), ["train-2-1"]),
        (Wish(role=Role.TRAIN, rank=8), []),
        (Wish(role=Role.TRAIN, attempt=3), []),
        (Wish(role=Role.PUBLISH), []),
    ],
)
def test_the_pods_of_one_role_and_one_gang_are_read_in_their_order(wish: Wish, expected: list[str]) -> None:
    assert [one.pod for one in sources(PODS, wish, processes_per_node=processes_per_node(JOB))] == expected


def test_the_newest_try_of_prepare_is_read_and_its_preflight_while_that_runs() -> None:
    waiting = [{"name": "prepare", "state": {"waiting": {"reason": "PodInitializing"}}}]
    preflight = [{"name": "preflight", "state": {"running": {}}}]
    pods = [pod("prepare", at=1, containerStatuses=waiting, initContainerStatuses=preflight), pod("prepare", at=0)]

    (source,) = sources(pods, Wish(), processes_per_node=1)

    assert (source.container, source.label) == ("preflight", "prepare")


def test_of_a_pod_that_is_gone_the_status_has_the_last_lines_of_the_rank_that_failed() -> None:
    asked = [Wish(role=Role.TRAIN), Wish(role=Role.TRAIN, attempt=1), Wish(role=Role.TRAIN, rank=0, attempt=1)]

    assert [last_words(JOB, wish) for wish in asked] == [["ValueError: boom"], ["ValueError: boom"], ()]
    assert last_words(JOB, Wish(role=Role.PREPARE)) == ()


def test_what_is_left_open_is_the_gang_that_was_lost_last_and_its_rank() -> None:
    assert settled(JOB, Wish()) == Wish(role=Role.TRAIN, rank=5, attempt=1)
    assert settled(JOB, Wish(role=Role.TRAIN, attempt=2)) == Wish(role=Role.TRAIN, rank=0, attempt=2)
    assert settled(read_stored(FAILED), Wish()) == Wish(role=Role.PREPARE, rank=0, attempt=0)
    assert settled(read_stored(RERUN), Wish()).role is Role.PREPARE


def test_the_whole_log_is_where_the_volume_has_it() -> None:
    wish = Wish(role=Role.TRAIN, rank=5, attempt=1)

    assert mounted_log(JOB, wish) == "/workspace/logs/attempt-1/rank-5.log"
    assert place(JOB, wish) == "logs/attempt-1/rank-5.log on volume claim pages-666ff6cc-workspace"
    assert place(JOB, Wish(role=Role.PREPARE)) == "logs/prepare.log on volume claim pages-666ff6cc-workspace"


def source(rank: int) -> Source:
    return Source(f"train-1-{rank}", "train", Role.TRAIN, 1, rank)


def test_several_logs_are_read_at_once_each_in_its_order() -> None:
    lines = {0: ["a", "b", "c"], 1: ["d", "e"]}

    found = list(interleaved([source(0), source(1)], lambda one: lines[one.node_rank]))

    assert [(rank, [line for one, line in found if one.node_rank == rank]) for rank in lines] == list(lines.items())


@pytest.mark.parametrize("error", [RefusalError("no", ExitCode.ACCESS_REFUSED), KeyError("no")])
def test_a_log_that_cannot_be_read_is_told(error: Exception) -> None:
    def read(_: Source) -> list[str]:
        raise error

    with pytest.raises(type(error), match="no"):
        list(interleaved([source(0)], read))
