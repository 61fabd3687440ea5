"""The gang of the tests itself: whatever a rank does, a test ends, and says what the ranks said."""

import multiprocessing
import os
import sys
import threading

import pytest

from tests.trainer.gang import start_gang


def say(words: str) -> None:
    sys.stderr.write(words)
    sys.stderr.flush()


def answer_with_rank() -> str:
    return os.environ["RANK"]


def wait_for_ever() -> None:
    say(f"rank {os.environ['RANK']} waits\n")
    threading.Event().wait()


def fail_at_rank_1() -> None:
    if os.environ["RANK"] == "1":
        raise ValueError("of rank 1 alone")
    threading.Event().wait()


def end_without_a_word() -> None:
    say("about to end")
    os._exit(3)


def test_the_answers_come_by_rank() -> None:
    assert start_gang(answer_with_rank, world_size=3).results() == ["0", "1", "2"]


def test_ranks_that_wait_for_ever_are_ended_and_their_logs_told() -> None:
    gang = start_gang(wait_for_ever)
    while not all(log.endswith("\n") for log in gang.logs()):
        os.sched_yield()

    with pytest.raises(AssertionError) as caught:
        gang.results(limit_seconds=0.1)

    assert str(caught.value) == ("no answer of 2 ranks in 0.1 s\nrank 0:\nrank 0 waits\n\nrank 1:\nrank 1 waits\n")
    assert [process.exitcode for process in gang.processes] == [-9, -9]


def test_a_rank_that_fails_ends_the_others_at_once() -> None:
    gang = start_gang(fail_at_rank_1)

    with pytest.raises(AssertionError, match=r"rank 1 ended without an answer(.|\n)*ValueError: of rank 1 alone"):
        gang.results()

    assert not multiprocessing.active_children()


def test_a_rank_that_ends_without_a_word_is_told_with_its_log() -> None:
    with pytest.raises(AssertionError, match="rank 0 ended without an answer\nrank 0:\nabout to end"):
        start_gang(end_without_a_word, world_size=1).results()
