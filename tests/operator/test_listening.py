"""What rank 0 answers over time: standing still and silence are two things."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.contract import Progress
from finetune_api.status import ProgressStatus
from finetune_operator.core.listening import LONGEST_GAP_SECONDS, SILENT_SECONDS, answered, unanswered
from finetune_operator.core.observed import ProgressReport

NOBODY_ASKED = ProgressReport(attempt=1, pod_uid="pod")
#: Seconds from one poll to the next, and what came of it: a step number, or None for no answer.
POLLS = st.lists(st.tuples(st.floats(0.1, 100_000), st.none() | st.integers(0, 3)), max_size=40)


def said(step: int, *, told_at: str | None = None, step_at: str | None = None) -> Progress:
    progress = ProgressStatus(stage="Training", step=step, last_update_time=told_at)
    return Progress(attempt=1, progress=progress, last_step_time=step_at)


def test_answers_without_a_new_step_count_from_the_first_of_them() -> None:
    report = answered(NOBODY_ASKED, said(5), at=100)

    for at in (110.0, 125.0):
        report = answered(report, said(5), at=at)

    assert report == replace(NOBODY_ASKED, progress=said(5), seen_still_seconds=25, answered_at=125)


def test_a_new_step_starts_the_count_anew() -> None:
    report = answered(answered(answered(NOBODY_ASKED, said(5), at=0), said(5), at=30), said(6), at=40)

    assert report.still_seconds == 0


def test_questions_without_an_answer_never_count_as_standing_still() -> None:
    report = answered(NOBODY_ASKED, said(5), at=0)

    for at in range(10, 100_000, 1000):
        report = unanswered(report, "refused", at=at)

    assert report.still_seconds == 0


def test_the_time_around_a_question_without_an_answer_does_not_count() -> None:
    """Rank 0 and all of its machine were paused: it has made no step, and no time has passed for it."""
    report = unanswered(answered(NOBODY_ASKED, said(5), at=0), "timed out", at=4)

    report = answered(answered(report, said(5), at=300), said(5), at=304)

    assert report.still_seconds == 4


def test_a_pause_between_two_answers_counts_for_less_than_the_least_stall_timeout() -> None:
    report = answered(answered(NOBODY_ASKED, said(5), at=0), said(5), at=86_400)

    assert report.still_seconds == LONGEST_GAP_SECONDS < 30


def test_silence_is_told_after_a_minute_in_the_first_words_until_an_answer_comes() -> None:
    soon = unanswered(unanswered(NOBODY_ASKED, "refused", at=0), "refused", at=59)
    silent = unanswered(soon, "timed out", at=60)
    later = unanswered(silent, "refused", at=70)
    heard = answered(later, said(5), at=80)

    assert [report.silence for report in (soon, silent, later, heard)] == ["", "timed out", "timed out", ""]


def test_two_questions_are_no_silence_however_far_the_clock_jumps_between_them() -> None:
    report = unanswered(unanswered(NOBODY_ASKED, "refused", at=0), "refused", at=86_400)

    assert report.silence == ""


def test_an_operator_that_asks_for_the_first_time_takes_over_what_rank_0_knows_by_its_own_clock() -> None:
    hung = said(5, told_at="2030-01-01T10:00:00Z", step_at="2030-01-01T09:30:00Z")

    assert answered(NOBODY_ASKED, hung, at=7).still_seconds == 1800


@pytest.mark.parametrize("step_at", [None, "2030-01-01T11:00:00Z"])
def test_times_that_tell_nothing_are_no_standstill(step_at: str | None) -> None:
    report = answered(NOBODY_ASKED, said(5, told_at="2030-01-01T10:00:00Z", step_at=step_at), at=7)

    assert report.still_seconds == 0


@given(POLLS)
def test_nobody_is_seen_to_stand_still_for_longer_than_its_answers_without_a_step_tell(
    polls: list[tuple[float, int | None]],
) -> None:
    report, now, same = NOBODY_ASKED, 0.0, 0
    silent_for = 0.0

    for gap, step in polls:
        now += gap
        if step is None:
            report = unanswered(report, "refused", at=now)
        else:
            same = same + 1 if report.progress == said(step) else 0
            report = answered(report, said(step), at=now)
        silent_for = now - report.silent_since if report.silent_since is not None else 0.0

        assert report.still_seconds <= same * LONGEST_GAP_SECONDS
        assert not report.silence or silent_for >= SILENT_SECONDS
