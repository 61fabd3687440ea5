"""What people see while the demo's job runs, on a terminal and in a file."""

import io
from typing import Any

from rich.console import Console

from tests.demo.view import describe, follow
from tests.stack.kubectl import Manifest

FINISHED = {"type": "Finished", "status": "True"}


def state(phase: str, *conditions: dict[str, Any], **status: object) -> Manifest:
    return {"status": {"phase": phase, "conditions": list(conditions), **status}}


TRAINING = state(
    "Training",
    progress={"stage": "Training", "totalSteps": 120, "percent": 25, "text": "30/120 (25 %)", "eta": "1:15 min"},
    metrics={"trainLoss": 1.25, "score": 0.5, "baselineScore": 0.048},
)
SUCCEEDED = state("Succeeded", FINISHED, metrics={"bestScore": 0.94})


def shown(states: list[Manifest], *, is_terminal: bool) -> str:
    file = io.StringIO()
    follow(iter(states), Console(file=file, force_terminal=is_terminal, width=120, color_system=None))
    return file.getvalue()


def test_a_line_has_phase_progress_loss_and_ndcg() -> None:
    assert describe(TRAINING) == "Training     Training    30/120 (25 %)  loss 1.2500  ndcg@10 0.5000  before 0.0480"


def test_a_job_that_waits_or_failed_says_why() -> None:
    waiting = {"type": "Scheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes have a GPU"}

    assert describe(state("Queued", waiting)) == "Queued       Unschedulable: 0/2 nodes have a GPU"


def test_a_file_gets_one_line_per_change_until_the_job_is_finished() -> None:
    lines = shown([TRAINING, TRAINING, SUCCEEDED, TRAINING], is_terminal=False).splitlines()

    assert lines == [describe(TRAINING), describe(SUCCEEDED)]


def test_a_terminal_keeps_the_last_state_with_its_bar_and_numbers() -> None:
    output = shown([TRAINING], is_terminal=True)

    for words in (
        "Training",
        "━━━━━━━",
        "30/120 (25 %)",
        "1:15 min left",
        "loss 1.2500",
        "ndcg@10 0.5000",
        "before 0.0480",
    ):
        assert words in output
