from typing import Any

from tests.chaos.invariants import check_end, check_steps


def state(attempt: int, step: int, *, checkpoint: int = 0) -> dict[str, Any]:
    progress = {"stage": "Training", "step": step}
    status = {"attempt": attempt, "phase": "Training", "progress": progress, "checkpoint": {"step": checkpoint}}
    return {"status": status}


def test_an_attempt_that_begins_before_a_checkpoint_has_lost_work() -> None:
    good = [state(1, 45, checkpoint=40), state(2, 41, checkpoint=40), state(2, 80, checkpoint=60), state(3, 60)]

    assert list(check_steps(good)) == []
    assert list(check_steps([*good, state(4, 59)])) == ["W: attempt 4 was at step 59, after a checkpoint of step 60"]


def test_a_job_that_did_not_succeed_with_all_its_steps_is_told() -> None:
    finished = {"type": "Finished", "status": "True", "reason": "Published"}
    failed = {
        "phase": "Failed",
        "conditions": [finished, {"type": "Succeeded", "reason": "OutOfMemory", "message": "a"}],
    }
    ended = {"phase": "Succeeded", "conditions": [finished], "progress": {"step": 299}}

    assert list(check_end({"status": failed})) == ["C: is Failed (OutOfMemory: a)"]
    assert list(check_end({"status": ended})) == ["W: ended at {'step': 299}"]
    assert list(check_end({"status": ended | {"progress": {"step": 300}}})) == []
