"""`finetune status`, `list` and `watch`: what is shown of objects."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from finetune_cli.cluster.listing import table
from finetune_cli.cluster.screen import screen
from finetune_cli.cluster.stored import Manifest, StoredJob, read_stored
from finetune_cli.cluster.watching import follow, line
from tests.cli import stored_jobs
from tests.cli.stored_jobs import FAILED, NOW, PREPARING, QUEUED, RESTARTING, SUCCEEDED, SUSPENDED, TRAINING, manifest

SCREENS = {
    "training": """\
FinetuneJob search/pages   Training   attempt 2
✓ Preparing 8:00 min   ✓ Queued 2:00 min   ● Training 50:00 min   ○ Publishing
██████████████████░░░░░░░░░░░░   180/288 (62 %)   3:05 min left
Training: attempt 2 trains on 2 nodes
Nobody's move: It goes on by itself.
loss         0.4213   █▆▄▃▂▂▁
ndcg@10      0.9312   ▁▇█   before 0.8881, best 0.9312 at step 150
checkpoint   step 150, 2:10 min ago
used         6:40:00 h of accelerators: 5:20:00 h useful, 20:00 min evaluating, 8:00 min not saved yet, 32:00 min \
lost, 16:00 min waiting
restarts     1, charged since the newest checkpoint: 0 user errors, 1 of the infrastructure
lost         attempt 1 at step 110: NodeLost, rank 5 on gpu-2""",
    "preparing": """\
FinetuneJob search/pages   Preparing
● Preparing 1:00:00 h   ○ Queued   ○ Training   ○ Publishing
████████████░░░░░░░░░░░░░░░░░░   Reading 41000/100000 (41 %)   pages   36.5 rows per second   26:56 min left
Preparing: model and data are fetched and checked
Nobody's move: It goes on by itself.""",
    "queued": """\
FinetuneJob search/pages   Queued   attempt 1
✓ Preparing 8:00 min   ● Queued 52:00 min   ○ Training   ○ Publishing
Unschedulable for 12:03 min: 2 of 2 pods have no node yet: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu. \
preemption: 0/2 nodes are available
The cluster's move: Free accelerators or quota, or change resources, nodeSelector or tolerations.""",
    "succeeded": """\
FinetuneJob search/pages   Succeeded   attempt 1
✓ Preparing 8:00 min   ✓ Queued 2:00 min   ✓ Training 44:00 min   ✓ Publishing 1:00 min
██████████████████████████████   288/288 (100 %)
Published: published as acme/better@0123456789ab
loss        0.3000
ndcg@10     0.9400   before 0.8881, best 0.9400 at step 288
scores      held-out   ndcg@10     0.8881 -> 0.9400   +0.0519   95%: +0.0312 to +0.0704
            held-out   recall@10   0.9000 -> 0.9700   +0.0700
published   acme/better at 0123456789ab
warning: few rows""",
    "kept": """\
FinetuneJob search/pages   Succeeded
○ Preparing   ○ Queued   ○ Training
Completed
files   train/model on volume claim shared, folder team/a""",
    "failed": """\
FinetuneJob search/pages   Failed
✗ Preparing 2:00 min   ○ Queued   ○ Training   ○ Publishing
ColumnNotFound: 2 problems. 1) spec.data.train[0]: dataset pages has no column page; it has query, image. Log: \
logs/prepare.log on claim pages-666ff6cc-workspace
Your move: Name columns that are there.
files   volume claim pages-666ff6cc-workspace""",
    "refused": """\
FinetuneJob search/pages   Failed
○ Preparing   ○ Queued   ○ Training   ○ Publishing
InvalidSpec: no
Your move: Correct the named fields; if the job has failed, set spec.rerun to a new text. What is trained can only be \
corrected in a new FinetuneJob.""",
    "suspended": """\
FinetuneJob search/pages   Suspended   attempt 2
✓ Preparing 8:00 min   ✓ Queued 2:00 min   ✓ Training 10:00 min   ○ Publishing
Suspended: spec.suspend is true; set it to false to go on
Your move: Set spec.suspend to false to resume from the newest checkpoint.
checkpoint   step 20""",
}
KEPT = manifest(
    "Succeeded",
    stored_jobs.condition("Succeeded", "True", "Completed"),
    spec={"publish": None},
    storage={"claim": "shared", "folder": "team/a"},
)
REFUSED = manifest(
    "Failed",
    stored_jobs.condition("Succeeded", "False", "InvalidSpec", "no"),
    phaseTimes={"Pending": stored_jobs.ago(minutes=60), "Failed": stored_jobs.ago(minutes=60)},
)
JOBS = {
    "training": TRAINING,
    "preparing": PREPARING,
    "queued": QUEUED,
    "succeeded": SUCCEEDED,
    "kept": KEPT,
    "failed": FAILED,
    "refused": REFUSED,
    "suspended": SUSPENDED,
}


@pytest.mark.parametrize("name", SCREENS)
def test_one_screen_shows_all_that_matters(name: str) -> None:
    assert screen(read_stored(JOBS[name]), NOW).plain == SCREENS[name]


def test_phases_of_a_newer_operator_are_left_out() -> None:
    times = {"Preparing": stored_jobs.ago(minutes=5), "Levitating": stored_jobs.ago(minutes=4)}

    shown = screen(read_stored(manifest("Preparing", phaseTimes=times)), NOW).plain

    assert shown.splitlines()[1] == "● Preparing 5:00 min   ○ Queued   ○ Training   ○ Publishing"


def test_a_job_that_no_operator_has_seen_has_a_screen_too() -> None:
    assert screen(stored_jobs.unseen(seconds=5), NOW).plain.splitlines()[:3] == [
        "FinetuneJob search/pages   Pending",
        "○ Preparing   ○ Queued   ○ Training   ○ Publishing",
        "NotSeen for 5 s: no operator has looked at it yet",
    ]


def test_the_list_has_a_line_per_job_the_newest_first() -> None:
    newer = stored_jobs.unseen(seconds=5)

    lines = list(table([read_stored(TRAINING), newer, read_stored(SUCCEEDED)], NOW, with_namespace=True))

    assert lines == [
        "NAMESPACE   NAME    STATUS      PROGRESS          LOSS     SCORE    BEFORE   LEFT       RESTARTS   AGE",
        "search      pages   Pending                                                             0          5s",
        "search      pages   Training    180/288 (62 %)    0.4213   0.9312   0.8881   3:05 min   1          60m",
        "search      pages   Succeeded   288/288 (100 %)   0.3000   0.9400   0.8881              0          60m",
    ]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (TRAINING, "Training     Training    180/288 (62 %)  loss 0.4213  ndcg@10 0.9312  best 0.9312  before 0.8881"),
        (PREPARING, "Preparing    Reading 41000/100000 (41 %)"),
        (
            RESTARTING,
            "Restarting   TrainerError: attempt 2 begins from step 40, because rank 1: ValueError: boom (at "
            "rows.py:31).",
        ),
    ],
)
def test_a_state_is_one_line_which_says_why_where_the_job_does_not_run(stored: Manifest, expected: str) -> None:
    assert line(read_stored(stored), NOW) == expected


def watched(states: list[Manifest], *, is_terminal: bool) -> tuple[str, StoredJob]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=160, color_system=None)
    jobs: Iterator[StoredJob] = map(read_stored, states)
    last = follow(jobs, console, lambda: NOW)
    return file.getvalue(), last


def test_off_a_terminal_a_watch_writes_a_line_per_change_until_the_job_has_ended() -> None:
    output, last = watched([QUEUED, QUEUED, TRAINING, SUCCEEDED, TRAINING], is_terminal=False)

    assert output.splitlines() == [line(read_stored(one), NOW) for one in (QUEUED, TRAINING, SUCCEEDED)]
    assert last == read_stored(SUCCEEDED)


def test_on_a_terminal_a_watch_leaves_the_last_screen() -> None:
    output, last = watched([TRAINING, SUCCEEDED], is_terminal=True)

    assert SCREENS["succeeded"].splitlines()[3] in output
    assert last == read_stored(SUCCEEDED)


def test_the_readme_shows_the_screen() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()

    assert f"$ finetune status pages -n search\n{SCREENS['training']}\n" in readme
