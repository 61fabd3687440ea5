import pytest

from finetune_api.status import ProgressStatus
from finetune_api.telling import duration, in_words


@pytest.mark.parametrize(("seconds", "text"), [(41.6, "42 s"), (185, "3:05 min"), (7215, "2:00:15 h")])
def test_durations_are_told_in_the_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_progress_is_told_as_people_read_it_whatever_it_said_of_itself() -> None:
    numbers = {"stage": "Training", "step": 180, "total_steps": 288, "percent": 62, "eta_seconds": 185}
    told = ProgressStatus.model_validate({**numbers, "text": "all done", "eta": "never"})

    assert in_words(told) == ProgressStatus.model_validate({**numbers, "text": "180/288 (62 %)", "eta": "3:05 min"})


def test_before_the_first_step_the_stage_is_told() -> None:
    told = in_words(ProgressStatus(stage="Baseline"))

    assert (told.text, told.eta) == ("Baseline", "")
