"""Each invariant can fail: evidence of a good life holds, and one thing that is wrong with it is told."""

from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.evidence import Evidence, find_leaks
from tests.chaos.invariants import ESSENTIAL, Violation, check
from tests.chaos.record import Ranks

SPEC = {"training": {"maxSteps": 200}, "checkpoint": {"everySteps": 10}, "publish": {"repository": "demo/a"}}
END = {"status": "True", "reason": "Published", "message": "Published as demo/a@abc."}
FILES = {name: {"sha256": f"sum of {name}"} for name in ESSENTIAL}
COMMIT = {"oid": "abc", "title": "Finetune with FinetuneJob a/b", "files": FILES}


def state(attempt: int, step: int, *, checkpoint: int = 0, **changes: object) -> dict[str, Any]:
    status = {
        "attempt": attempt,
        "phase": "Training",
        "progress": {"stage": "Training", "step": step},
        "checkpoint": {"step": checkpoint},
    }
    return {"spec": SPEC, "status": status | changes}


def ended(**changes: object) -> dict[str, Any]:
    conditions = [{"type": "Finished"} | END, {"type": "Succeeded"} | END]
    end = {"phase": "Succeeded", "conditions": conditions, "published": {"commit": "abc"}}
    return state(2, 200, checkpoint=200, **(end | changes))


def usage(**kinds: int) -> dict[str, int]:
    """Return what gangs held and what came of it, in seconds."""
    known = dict.fromkeys(("held", "useful", "evaluating", "lost", "waiting"), 0) | kinds
    return {f"{kind}Seconds": seconds for kind, seconds in known.items()}


HELD = usage(held=90, useful=60, evaluating=10, lost=5, waiting=15)
GOOD = Evidence(
    name="a",
    states=[state(1, 45, checkpoint=40), state(2, 41, checkpoint=40, usage=usage(held=50, lost=5)), ended(usage=HELD)],
    events=["RankKilled", "Published"],
    commits=[COMMIT, {"oid": "000", "title": "initial commit", "files": {}}],
    branches={"main": "abc"},
    tags={"finetune-1": "abc"},
    model={"model.safetensors": "sum of model.safetensors", "notes.txt": "not for the Hub"},
    seconds_after_end=60,
)
FAILED = [{"type": "Finished"} | END, {"type": "Succeeded", "status": "False", "reason": "PeerLost", "message": "b"}]


def with_commits(*commits: dict[str, Any]) -> Evidence:
    return replace(GOOD, commits=commits)


def test_nothing_is_said_of_a_job_with_which_all_is_well() -> None:
    assert check(GOOD) == []


@pytest.mark.parametrize(
    ("evidence", "invariant", "expected", "seen"),
    [
        (replace(GOOD, gangs_at_once=2), "D", "one gang at a time", "2 at once"),
        (
            replace(
                GOOD, states=[*GOOD.states, ended(usage=HELD | usage(held=89, useful=60, evaluating=10, waiting=19))]
            ),
            "U",
            "counters that never fall, and kinds that add up",
            "held: 90, then 89",
        ),
        (
            replace(GOOD, states=[ended(usage=HELD | {"lostSeconds": 6})]),
            "U",
            "counters that never fall, and kinds that add up",
            "90 held, 91 by kind",
        ),
        (replace(GOOD, num_children={"services": 2}), "D", "one of its services", "2"),
        (
            replace(GOOD, num_children={"services": 0, "persistentvolumeclaims": 0}),
            "D",
            "one of its persistentvolumeclaims",
            "0",
        ),
        (
            replace(GOOD, states=[state(1, 45, checkpoint=40), state(2, 39), ended()]),
            "W",
            "attempt 2 to begin at step 40, where a checkpoint is, and at most 10 back",
            "step 39, after step 45",
        ),
        (
            replace(GOOD, states=[state(1, 58, checkpoint=40), state(2, 47), ended()]),
            "W",
            "attempt 2 to begin at step 40, where a checkpoint is, and at most 10 back",
            "step 47, after step 58",
        ),
        (
            replace(GOOD, states=[*GOOD.states, ended(progress={"stage": "Done", "step": 199})]),
            "W",
            "all 200 steps",
            "step 199 at the end",
        ),
        (with_commits(), "P", "commit abc on the Hub, of which the status tells", "[]"),
        (with_commits(COMMIT, COMMIT | {"oid": "def"}), "P", "one commit", "2 commits"),
        (
            with_commits(COMMIT | {"files": {name: FILES[name] for name in ESSENTIAL[:-1]}}),
            "P",
            "each commit to be a whole model",
            "abc lacks modules.json",
        ),
        (replace(GOOD, branches={"main": "000"}), "P", "the branch main at abc", "at 000"),
        (replace(GOOD, tags={}), "P", "a tag at abc", "{}"),
        (
            replace(GOOD, model={"model.safetensors": "another"}),
            "P",
            "the Hub to have the model of the volume",
            "other contents: model.safetensors",
        ),
        (replace(GOOD, model={}), "P", "the Hub to have the model of the volume", "other contents: no model"),
        (
            replace(GOOD, states=[*GOOD.states, ended(phase="Failed", conditions=FAILED)]),
            "C",
            "the job to succeed",
            "Failed (PeerLost: b)",
        ),
        (replace(GOOD, events=["Published", "Published"]), "C", "one Event of its end (Published)", "2 in "),
        (replace(GOOD, events=[]), "C", "one Event of its end (Published)", "0 in "),
        (
            replace(GOOD, states=[ended(), state(2, 200, phase="Publishing"), ended()]),
            "C",
            "a job that has ended to stay so",
            "Publishing afterwards",
        ),
        (replace(GOOD, seconds_after_end=61), "G", "no rank 60 s after its end", "one after 61 s"),
        (replace(GOOD, leaks=["the log of b"]), "S", "no token in statuses, Events, logs and files", "one in "),
    ],
)
def test_what_does_not_hold_is_told(evidence: Evidence, invariant: str, expected: str, seen: str) -> None:
    found = check(evidence)

    told = [violation for violation in found if violation.expected == expected]
    assert told, found
    assert (told[0].job, told[0].invariant) == ("a", invariant)
    assert told[0].seen.startswith(seen)


def test_an_end_without_words_is_told() -> None:
    conditions = [{"type": "Finished", "status": "True", "reason": "Published"}, {"type": "Succeeded"} | END]
    silent = replace(GOOD, states=[ended(conditions=conditions)])

    assert check(silent) == [
        Violation(job="a", invariant="C", expected="a reason and a message of its end", seen=str(conditions[0]))
    ]


def test_a_job_that_never_ends_is_told() -> None:
    endless = replace(GOOD, states=GOOD.states[:2], commits=[], branches={}, tags={})

    assert check(endless) == [
        Violation(job="a", invariant="C", expected="the job to succeed", seen="Training (None: None)")
    ]


def test_a_token_is_found_where_it_is() -> None:
    texts = [("its statuses", b"nothing"), ("the log of a", b"Bearer hf_demo_read"), ("b", b"\0hf_demo_write")]

    assert find_leaks(texts) == ["the log of a", "b"]


def pod(attempt: str, phase: str = "Running") -> dict[str, Any]:
    labels = {"finetune.dev/job": "a", "finetune.dev/attempt": attempt}
    return {"metadata": {"labels": labels}, "status": {"phase": phase}}


def test_gangs_that_live_at_once_are_counted_and_those_that_have_ended_are_not() -> None:
    ranks = Ranks()

    ranks.note_pods([pod("1", "Failed"), pod("2"), pod("2")], now=0)
    assert ranks.gangs_at_once == {"a": 1}
    ranks.note_pods([pod("2"), pod("3", "Pending")], now=1)
    ranks.note_pods([pod("3")], now=2)
    assert ranks.gangs_at_once == {"a": 2}


def test_the_time_that_ranks_live_after_the_end_is_told_and_begins_anew_with_each_run() -> None:
    ranks = Ranks()

    ranks.note_pods([pod("1")], now=0)
    assert ranks.seconds_after_end == {}
    for now, is_finished in ((1, True), (5, True)):
        ranks.note_end("a", is_finished=is_finished, now=now)
    ranks.note_pods([pod("1")], now=64)
    assert ranks.seconds_after_end == {"a": 63}
    ranks.note_end("a", is_finished=False, now=65)
    ranks.note_pods([pod("1")], now=99)
    assert ranks.seconds_after_end == {"a": 63}
