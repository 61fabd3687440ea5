"""`finetune logs`: which pods are read, and what is left of those that are gone."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import ExitCode, Role
from finetune_cli.cluster.interleaving import interleaved
from finetune_cli.cluster.logs import Source, Wish, last_words, mounted_log, place, processes_per_node, settled, sources
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import Manifest, read_stored
from finetune_cli.main import main
from tests.cli.api_stub import JOBS, Answers, serving, write_kubeconfig
from tests.cli.stored_jobs import FAILED, RERUN, TRAINING

JOB = read_stored(TRAINING)
CORE = "/api/v1/namespaces/search"
NOT_BEGUN = (400, {"message": 'container "train" in pod "train-2-0" is waiting to start: PodInitializing'})


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


def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answers: Answers, *options: str
) -> tuple[int, str, str]:
    """Return what `finetune logs` ends with and prints."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with serving({JOBS + "/pages": (200, TRAINING), **answers}) as address:
        write_kubeconfig(tmp_path / "config", address)
        code = main(["logs", "pages", *options])
    printed = capsys.readouterr()
    return int(code), printed.out, printed.err


def test_of_all_ranks_those_are_read_that_have_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = pod("train", attempt=2, index=0, containerStatuses=[{"name": "train", "state": {"waiting": {}}}])
    answers: Answers = {
        f"{CORE}/pods": (200, {"items": [waiting, pod("train", attempt=2, index=1)]}),
        f"{CORE}/pods/train-2-0/log": NOT_BEGUN,
        f"{CORE}/pods/train-2-1/log": (200, b"step 1\n"),
    }

    found = typed(tmp_path, monkeypatch, capsys, answers, "--rank", "all")

    assert found == (0, "step 1\n", "Note: train-2-0 has not begun and has no log yet\n")


def test_a_log_is_followed_from_its_last_lines_until_its_pod_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: Answers = {
        f"{CORE}/pods": (200, {"items": PODS}),
        f"{CORE}/pods/train-2-0/log?container=train&follow=true&tailLines=2": (200, b"step 1\nstep 2\nended\n"),
    }

    assert typed(tmp_path, monkeypatch, capsys, answers, "-f", "--tail", "2") == (0, "step 1\nstep 2\nended\n", "")


@pytest.mark.parametrize("rank", ["0", "all"])
def test_a_pod_that_has_not_begun_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str
) -> None:
    waiting = pod("train", attempt=2, index=0, containerStatuses=[{"name": "train", "state": {"waiting": {}}}])
    answers: Answers = {f"{CORE}/pods": (200, {"items": [waiting]}), f"{CORE}/pods/train-2-0/log": NOT_BEGUN}

    code, out, err = typed(tmp_path, monkeypatch, capsys, answers, "--rank", rank)

    assert (code, out) == (31, "")
    assert err.endswith(" is waiting to start: PodInitializing; try again once it has begun\n")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "one\nValueError: boom\n"),
        (("--tail", "1"), "ValueError: boom\n"),
        (("--tail", "0"), ""),
        (
            ("--tail", "1", "-o", "json"),
            json.dumps({"role": "train", "rank": 5, "attempt": 1, "line": "ValueError: boom"}) + "\n",
        ),
    ],
)
def test_what_is_left_of_a_log_is_printed_as_a_log_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    expected: str,
) -> None:
    failure = TRAINING["status"]["lastFailure"] | {"lines": ["one", "ValueError: boom"]}
    lost = TRAINING | {"status": TRAINING["status"] | {"lastFailure": failure}}
    answers: Answers = {JOBS + "/pages": (200, lost), f"{CORE}/pods": (200, {"items": []})}

    code, out, err = typed(tmp_path, monkeypatch, capsys, answers, *options)

    assert (code, out) == (0, expected)
    assert err.startswith("These are its last lines; the whole log is at logs/attempt-1/rank-5.log on volume claim ")
