import pytest

from finetune_api.status import MAX_COUNT, TEXT_LENGTH, ProgressStatus, UsageStatus
from finetune_api.telling import duration, in_words, usage_text


@pytest.mark.parametrize(("seconds", "text"), [(41.6, "42 s"), (185, "3:05 min"), (7215, "2:00:15 h")])
def test_durations_are_told_in_the_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_of_what_was_held_kinds_without_any_time_are_left_out() -> None:
    nothing = UsageStatus(of="Processes", time="2026-11-23T09:00:00Z")

    told = [usage_text(one) for one in (nothing, nothing.model_copy(update={"held_seconds": 9, "waiting_seconds": 7}))]

    assert told == ["0 s of processes", "9 s of processes: 7 s waiting"]


def test_progress_is_told_as_people_read_it_whatever_it_said_of_itself() -> None:
    numbers = {"stage": "Training", "step": 180, "total_steps": 288, "percent": 62, "eta_seconds": 185}
    told = ProgressStatus.model_validate({**numbers, "text": "all done", "eta": "never"})

    assert in_words(told) == ProgressStatus.model_validate({**numbers, "text": "180/288 (62 %)", "eta": "3:05 min"})


READING = {"stage": "Reading", "dataset": "pages", "rows": 41_000, "total_rows": 100_000, "percent": 41}


def test_prepare_is_told_by_its_stage_with_the_rows_of_it() -> None:
    told = in_words(ProgressStatus.model_validate({**READING, "rows_per_second": 36.5, "eta_seconds": 1616}))

    assert (told.text, told.rate, told.eta) == ("Reading 41000/100000 (41 %)", "36.5 rows per second", "26:56 min")


def test_what_mining_counts_are_embeddings_and_high_rates_are_whole_numbers() -> None:
    told = in_words(ProgressStatus.model_validate({**READING, "stage": "Mining", "rows_per_second": 1234.5}))

    assert (told.text, told.rate) == ("Mining 41000/100000 (41 %)", "1234 embeddings per second")


def test_whatever_a_pod_says_its_words_fit_into_the_status() -> None:
    most = dict.fromkeys(("rows", "total_rows", "percent", "eta_seconds", "rows_per_second"), MAX_COUNT)

    told = in_words(ProgressStatus.model_validate({**most, "stage": "x" * TEXT_LENGTH}))

    ProgressStatus.model_validate(told.model_dump())


def test_before_the_first_step_the_stage_is_told() -> None:
    told = in_words(ProgressStatus(stage="Baseline"))

    assert (told.text, told.eta) == ("Baseline", "")
