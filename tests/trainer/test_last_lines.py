"""The last lines of the rank that failed, in the last words of its pod."""

import json
import subprocess
import sys
from pathlib import Path

from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_trainer.workspace.last_lines import add_last_lines, last_lines

PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_trainer.workspace.kept_log import keeping_log
from finetune_trainer.workspace.last_lines import add_last_lines

log, message = Path(sys.argv[1]), Path(sys.argv[2])

def role():
    for number in range(30):
        print("line", number, file=sys.stderr)
    result = RunResult(role=Role.TRAIN, reason=Reason.TRAINER_ERROR, message="boom", failed_rank=0)
    message.write_text(result.to_termination_message())
    return 19

sys.exit(keeping_log(role, log, partial(add_last_lines, message=message, log=log)))
"""


def said(message: Path, reason: Reason, *, failed_rank: int | None = None, role: Role = Role.TRAIN) -> Path:
    message.write_text(RunResult(role=role, reason=reason, failed_rank=failed_rank).to_termination_message())
    return message


def read(message: Path) -> list[str]:
    return RunResult.model_validate_json(message.read_bytes()).last_lines


def test_a_role_that_fails_leaves_its_last_twenty_lines_in_its_last_words(tmp_path: Path) -> None:
    log, message = tmp_path / "logs" / "rank-0.log", tmp_path / "termination"

    code = subprocess.run([sys.executable, "-c", PROGRAM, log, message], check=False, timeout=300).returncode

    assert code == 19
    assert read(message) == [f"line {number}" for number in range(10, 30)]


def test_the_lines_are_those_of_the_rank_that_failed(tmp_path: Path) -> None:
    logs = [tmp_path / f"rank-{rank}.log" for rank in (2, 3)]
    tails = {logs[0]: b"peer lost\n", logs[1]: b"CUDA error\n"}

    found = []
    for rank in (None, 2, 3, 7):
        message = said(tmp_path / "termination", Reason.TRAINER_ERROR, failed_rank=rank)
        add_last_lines(tails, message=message, log=logs[0])
        found.append(read(message))

    assert found == [["peer lost"], ["peer lost"], ["CUDA error"], []]


def test_after_a_success_and_in_other_roles_nothing_is_added(tmp_path: Path) -> None:
    log = tmp_path / "rank-0.log"
    ends = [(Reason.TRAINED, Role.TRAIN), (Reason.HUB_UNAVAILABLE, Role.PREPARE)]

    for reason, role in ends:
        message = said(tmp_path / "termination", reason, role=role)
        add_last_lines({log: b"words"}, message=message, log=log)
        assert read(message) == []


def test_a_role_that_left_no_words_is_left_alone(tmp_path: Path) -> None:
    message = tmp_path / "termination"

    add_last_lines({}, message=message, log=tmp_path / "rank-0.log")
    assert not message.exists()

    message.write_text("Killed")
    add_last_lines({}, message=message, log=tmp_path / "rank-0.log")
    assert message.read_text() == "Killed"


def test_json_lines_are_told_as_people_read_them_without_tokens() -> None:
    failed = {
        "level": "error",
        "event": "rank failed",
        "detail": "boom",
        "traceback": "Traceback:\n  File x\nError: no",
    }
    ended = {"event": "run ended", "result": {"reason": "TrainerError"}}
    token = "hf_" + "a" * 30
    tail = "\n".join(["terminate called", "", token, json.dumps(failed), json.dumps(ended), "x" * 500]).encode()

    assert last_lines(tail) == [
        "terminate called",
        "hf_***",
        "Traceback:",
        "  File x",
        "Error: no",
        "rank failed: boom",
        "x" * 240,
    ]
