"""Conditions, numbers and Events as parts of a status."""

from datetime import timedelta

from finetune_api.contract import MAX_WARNINGS, Progress, Role, RunResult
from finetune_api.reasons import Reason
from finetune_api.status import (
    ConditionType,
    CurvePoint,
    DimensionScore,
    EvaluationScore,
    FinetuneJobStatus,
    MetricsStatus,
    ModelStatus,
    Phase,
    ProgressStatus,
)
from finetune_operator.core.conditions import MESSAGE_LIMIT, Finding, set_conditions
from finetune_operator.core.results import merge_metrics, merge_warnings, with_progress, with_result
from finetune_operator.core.transitions import NOTE_LIMIT_BYTES, find_transitions
from tests.operator.given import T0, a_job, look

SCHEDULED = ConditionType.SCHEDULED


def test_a_new_reason_with_the_same_status_keeps_the_transition_time() -> None:
    first = set_conditions([], Finding(SCHEDULED, "False", Reason.QUEUED), now=T0, generation=1)

    later = T0 + timedelta(minutes=5)
    (found,) = set_conditions(first, Finding(SCHEDULED, "False", Reason.UNSCHEDULABLE), now=later, generation=2)

    assert (found.reason, found.observed_generation) == ("Unschedulable", 2)
    assert found.last_transition_time == "2026-11-23T09:00:00Z"


def test_a_new_status_has_a_new_transition_time() -> None:
    first = set_conditions([], Finding(SCHEDULED, "False", Reason.QUEUED), now=T0, generation=1)

    later = T0 + timedelta(minutes=5)
    (found,) = set_conditions(first, Finding(SCHEDULED, "True", Reason.TRAINING), now=later, generation=1)

    assert found.last_transition_time == "2026-11-23T09:05:00Z"


def test_conditions_are_always_in_the_same_order() -> None:
    findings = [Finding(kind, "Unknown", Reason.ACCEPTED) for kind in reversed(ConditionType)]

    found = set_conditions([], *findings, now=T0, generation=1)

    assert [condition.type for condition in found] == [kind.value for kind in ConditionType]


def test_endless_messages_are_cut() -> None:
    (found,) = set_conditions([], Finding(SCHEDULED, "False", Reason.QUEUED, "x" * 9999), now=T0, generation=1)

    assert len(found.message) == MESSAGE_LIMIT


def test_numbers_are_rounded_and_old_ones_stay_until_there_are_new_ones() -> None:
    old = MetricsStatus(train_loss=1.0, baseline_score=0.5)

    merged = merge_metrics(old, MetricsStatus(train_loss=0.123456789, best_step=7))

    assert merged == MetricsStatus(train_loss=0.123457, baseline_score=0.5, best_step=7)


def test_scores_of_every_dimension_are_rounded() -> None:
    dimension = DimensionScore(dimension=64, baseline=0.11111111, final=0.22222222)
    score = EvaluationScore(name="e", metric="ndcg@10", baseline=None, final=0.33333333, dimensions=[dimension])

    status = with_result(FinetuneJobStatus(), RunResult(role=Role.TRAIN, reason=Reason.TRAINED, evaluations=[score]))

    rounded = DimensionScore(dimension=64, baseline=0.111111, final=0.222222)
    assert status.evaluations == [
        EvaluationScore(name="e", metric="ndcg@10", baseline=None, final=0.333333, dimensions=[rounded])
    ]


def test_the_newest_curve_is_kept_rounded() -> None:
    points = [CurvePoint(step=1, loss=2.00000049), CurvePoint(step=2, score=0.33333333)]
    told = Progress(attempt=1, progress=ProgressStatus(step=2), curve=points)
    longer = RunResult(role=Role.TRAIN, reason=Reason.TRAINED, curve=[*points, CurvePoint(step=3, loss=1.0)])

    polled = with_progress(FinetuneJobStatus(), told)
    silent = with_progress(polled, Progress(attempt=2, progress=ProgressStatus(stage="Loading")))

    rounded = [CurvePoint(step=1, loss=2.0), CurvePoint(step=2, score=0.333333)]
    assert polled.curve == silent.curve == rounded
    assert with_result(polled, longer).curve == [*rounded, CurvePoint(step=3, loss=1.0)]


def test_a_result_that_says_nothing_takes_nothing_away() -> None:
    before = with_progress(
        FinetuneJobStatus(warnings=["w"]),
        Progress(attempt=1, progress=ProgressStatus(step=3), metrics=MetricsStatus(score=0.5), warnings=["skipped"]),
    )

    assert with_result(before, RunResult(role=Role.PUBLISH, reason=Reason.PUBLISHED)) == before


def test_what_prepare_found_of_the_model_stays_when_training_says_how_it_ran() -> None:
    found = ModelStatus(revision="abc", modalities=["text"], checkpoint_bytes=7)
    ran = ModelStatus(revision="abc", modalities=["text"], dtype="bfloat16")

    status = with_result(FinetuneJobStatus(model=found), RunResult(role=Role.TRAIN, reason=Reason.TRAINED, model=ran))

    assert status.model == found.model_copy(update={"dtype": "bfloat16"})


def test_what_a_gang_warns_of_is_told_while_it_trains_and_once() -> None:
    told = Progress(attempt=1, progress=ProgressStatus(step=3), warnings=["checkpoint step-000300 was skipped"])

    status = with_progress(with_progress(FinetuneJobStatus(warnings=["w"]), told), told)

    assert status.warnings == ["w", "checkpoint step-000300 was skipped"]


def test_the_operator_puts_progress_in_words() -> None:
    numbers = ProgressStatus(stage="Training", step=180, total_steps=288, percent=62, eta_seconds=185)

    polled = with_progress(FinetuneJobStatus(), Progress(attempt=1, progress=numbers)).progress
    ended = with_result(
        FinetuneJobStatus(), RunResult(role=Role.TRAIN, reason=Reason.TRAINED, progress=numbers)
    ).progress

    assert polled == ended == numbers.model_copy(update={"text": "180/288 (62 %)", "eta": "3:05 min"})


def test_each_warning_is_told_once_and_not_too_many() -> None:
    found = merge_warnings(["a", "b"], ["b", *[str(number) for number in range(50)]])

    assert found[:4] == ["a", "b", "0", "1"]
    assert len(found) == MAX_WARNINGS


def test_no_transition_no_event() -> None:
    status = look(a_job()).status

    assert find_transitions(status, status) == ()


def test_a_long_note_is_cut_by_bytes_and_between_letters() -> None:
    status = look(a_job()).status
    text = "ä" * NOTE_LIMIT_BYTES
    summary = [Finding(ConditionType.SUCCEEDED, "Unknown", Reason.SUSPENDED, text)]
    conditions = set_conditions(status.conditions, *summary, now=T0, generation=1)

    (event,) = find_transitions(status, status.model_copy(update={"phase": Phase.SUSPENDED, "conditions": conditions}))

    assert event.note == "ä" * (NOTE_LIMIT_BYTES // 2)
