"""The pod's log and its copy on the volume: whole, bounded, and never in the way of the role."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_trainer.workspace.kept_log import KEPT_ATTEMPTS, Keeper, gap

PATIENCE_SECONDS = 300
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from finetune_trainer.workspace import kept_log

kept_log.LAST_SECONDS = {last_seconds}

def role():
    print("a role says hello")
    print("and warns", file=sys.stderr, flush=True)
    {body}

sys.exit(kept_log.keeping_log(role, Path(sys.argv[1]), lambda tails: None))
"""


def start(log: Path, body: str, *, last_seconds: float = PATIENCE_SECONDS) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM.format(body=body, last_seconds=last_seconds), str(log)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(log: Path, body: str, *, last_seconds: float = PATIENCE_SECONDS) -> tuple[int, str, str]:
    process = start(log, body, last_seconds=last_seconds)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, out, err


def test_what_a_role_says_is_in_the_pods_log_as_it_was_and_on_the_volume(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "prepare.log"

    ended = said(log, "return 7")
    again = said(log, "return 0")

    assert ended == (7, "a role says hello\n", "and warns\n")
    assert again[0] == 0
    assert sorted(log.read_text().splitlines()) == sorted(["a role says hello", "and warns"] * 2)


def test_a_role_whose_output_goes_to_its_log_anyway_is_there_once(tmp_path: Path) -> None:
    log = tmp_path / "prepare.log"
    with log.open("ab") as file:
        file.write(b"before\n")
        file.flush()
        command = [sys.executable, "-c", PROGRAM.format(body="return 0", last_seconds=PATIENCE_SECONDS), str(log)]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=file, check=True, timeout=PATIENCE_SECONDS)

    assert sorted(log.read_text().splitlines()) == ["a role says hello", "and warns", "before"]


def test_the_last_words_of_a_killed_role_are_there_and_its_end_is_ours(tmp_path: Path) -> None:
    log = tmp_path / "prepare.log"

    code, _, err = said(log, "os.write(2, b'last words'); os.kill(os.getpid(), signal.SIGKILL)")

    assert (code, err) == (-signal.SIGKILL, "and warns\nlast words")
    assert log.read_text().endswith("last words")


def test_ranks_beside_the_first_have_logs_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "attempt-2" / "rank-8.log"

    code, _, err = said(log, "kept_log.speak_as_rank(11); os.write(2, b'eleven speaks'); return 0")

    assert code == 0
    assert "eleven speaks" in err
    assert (log.with_name("rank-11.log")).read_text() == "eleven speaks"
    assert "eleven" not in log.read_text()


@pytest.mark.parametrize("line", ["no rank", "", "-1", "9" * 5000])
def test_who_calls_and_is_no_rank_is_not_listened_to(tmp_path: Path, line: str) -> None:
    log = tmp_path / "attempt-2" / "rank-8.log"
    call = (
        "import socket; caller = socket.socket(socket.AF_UNIX); caller.connect(os.environ[kept_log.ENV_RANKS]); "
        f"caller.sendall(b'{line}\\n'); rest = caller.recv(1); "
        "kept_log.speak_as_rank(11); os.write(2, b'eleven speaks'); return 7"
    )

    code, _, err = said(log, call)

    assert (code, err) == (7, "and warns\neleven speaks")
    assert log.with_name("rank-11.log").read_text() == "eleven speaks"


def test_a_signal_reaches_the_role(tmp_path: Path) -> None:
    process = start(
        tmp_path / "train.log",
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(17)); print('ready', flush=True); signal.pause()",
    )
    assert process.stdout is not None
    while process.stdout.readline() != "ready\n":
        pass

    process.terminate()
    process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 17


def test_the_first_process_of_a_container_can_be_ended_before_it_listens() -> None:
    first = (
        "import os; os.getpid = lambda: 1; import finetune_trainer, signal; print('ready', flush=True); signal.pause()"
    )
    process = subprocess.Popen([sys.executable, "-c", first], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()

    process.terminate()
    process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 128 + signal.SIGTERM


def test_what_a_role_leaves_behind_does_not_hold_up_its_end(tmp_path: Path) -> None:
    stays = "child = os.fork() or (os.close(1), os.close(2), signal.pause()); print(child); return 0"

    code, out, _ = said(tmp_path / "train.log", stays)

    greeting, child = out.splitlines()
    assert (code, greeting) == (0, "a role says hello")
    os.kill(int(child), signal.SIGKILL)  # it is still there


@pytest.mark.parametrize("volume", ["no folder", "full", "hanging"])
def test_a_volume_that_takes_nothing_changes_nothing_for_the_role(tmp_path: Path, volume: str) -> None:
    log = tmp_path / "logs" / "prepare.log"
    if volume == "no folder":
        log.parent.touch()
    else:
        log.parent.mkdir()
    if volume == "full":
        log.symlink_to("/dev/full")
    if volume == "hanging":
        os.mkfifo(log)  # to open it for writing waits for a reader

    # Long enough to pass all of it on; a volume that hangs is waited for as long.
    code, out, err = said(log, "os.write(1, b'x' * 10_000_000); return 3", last_seconds=5)

    assert (code, err) == (3, "and warns\n")
    assert len(out.removeprefix("a role says hello\n")) == 10_000_000


def test_a_log_on_the_volume_has_the_newest_part_and_a_limit(tmp_path: Path) -> None:
    log = tmp_path / "prepare.log"

    said(log, "for n in range(0, 400_000, 1000): os.write(2, b''.join(b'%07d\\n' % k for k in range(n, n + 1000)))")

    older = tmp_path / "prepare.log.1"
    assert log.read_text().endswith("0399999\n")
    assert older.read_bytes()[-8:] < log.read_bytes()[:8]
    assert log.stat().st_size + older.stat().st_size <= 2 * 1024 * 1024


def test_what_the_volume_did_not_take_is_told_once_it_takes_something(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "prepare.log"
    log.parent.touch()
    keeper = Keeper()

    with keeper:
        keeper.put(log, b"lost\n")
    log.parent.unlink()
    with keeper:
        keeper.put(log, b"kept\n")

    assert log.read_bytes() == gap(5) + b"kept\n"


def test_logs_of_the_newest_gangs_stay(tmp_path: Path) -> None:
    for attempt in range(1, 10):
        with Keeper() as keeper:
            keeper.put(tmp_path / f"attempt-{attempt}" / "rank-0.log", b"trained\n")
            keeper.put(tmp_path / f"attempt-{attempt}" / "rank-1.log", b"trained\n")
        os.utime(tmp_path / f"attempt-{attempt}", (attempt, attempt))

    with Keeper() as keeper:
        keeper.put(tmp_path / "prepare.log", b"validated\n")

    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [*[f"attempt-{attempt}" for attempt in range(10 - KEPT_ATTEMPTS, 10)], "prepare.log"]
    assert len(list(tmp_path.glob("attempt-9/rank-*.log"))) == 2
