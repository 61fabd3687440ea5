import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from finetune_api.contract import (
    CUT,
    EXIT_CODES,
    RESULT_LIMIT_BYTES,
    ExitCode,
    JobIdentity,
    Progress,
    Role,
    RunConfig,
    RunResult,
    exit_code_of,
    round_significant,
    run_id,
    spec_part,
)
from finetune_api.problems import parse_job
from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import (
    MAX_CURVE_POINTS,
    CurvePoint,
    DimensionScore,
    EvaluationScore,
    FinetuneJobStatus,
    ImageStatus,
    ModelStatus,
)
from finetune_api.types import FinetuneJob


def job(manifest: dict[str, Any]) -> FinetuneJob:
    parsed = parse_job(manifest)
    assert isinstance(parsed, FinetuneJob)
    return parsed


def test_a_run_config_survives_the_config_map(minimal: dict[str, Any]) -> None:
    config = RunConfig(job=JobIdentity(namespace="default", name="job", uid="0000-1111"), spec=job(minimal).spec)

    again = RunConfig.model_validate_json(config.model_dump_json(by_alias=True))

    assert again == config


def test_the_world_size_counts_accelerators_and_cpu_nodes(minimal: dict[str, Any]) -> None:
    identity = JobIdentity(namespace="default", name="job", uid="0000-1111")
    sizes = {}
    for per_node in (0, 1, 8):
        minimal["spec"]["resources"] = {"nodes": 2, "accelerator": {"perNode": per_node}}
        sizes[per_node] = RunConfig(job=identity, spec=job(minimal).spec).world_size

    assert sizes == {0: 2, 1: 2, 8: 16}


def id_of(manifest: dict[str, Any], *, uid: str = "u") -> str:
    """Return what the operator knows of a run's id."""
    return RunConfig(job=JobIdentity(namespace="n", name=uid, uid=uid), spec=job(manifest).spec).spec_hash


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": True, "retry": {"userErrors": 9}, "activeDeadlineSeconds": 5, "rerun": "again"},
        {"image": "registry.example/trainer:2", "hub": {"tokenSecret": {"name": "reader"}}},
        {"storage": {"size": "9Ti"}, "schedule": {"queueName": "gpus"}, "checkpoint": {"everySteps": 7}},
        {"resources": {"requests": {"memory": "64Gi"}, "sharedMemory": "9Gi"}},
        {"resources": {"accelerator": {"name": "amd.com/gpu"}}},
        {"publish": {"repository": "acme/better", "tokenSecret": {"name": "t"}, "always": True}},
    ],
)
def test_a_runs_id_does_not_tell_where_and_how_it_runs_and_where_its_result_goes(
    minimal: dict[str, Any], change: dict[str, Any]
) -> None:
    before = id_of(minimal)
    minimal["spec"] |= change

    assert id_of(minimal, uid="restored elsewhere") == before


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"seed": 43}},
        {"evaluation": {"every": "20%"}},
        {"model": {"source": "hf://acme/other"}},
        {"data": {"train": [{"name": "other", "source": "hf://acme/other"}]}},
        {"resources": {"accelerator": {"perNode": 2}}},
    ],
)
def test_a_runs_id_tells_what_is_trained_and_by_how_many_processes(
    minimal: dict[str, Any], change: dict[str, Any]
) -> None:
    before = id_of(minimal)
    minimal["spec"] |= change

    assert id_of(minimal) != before


def test_equal_numbers_of_processes_are_one_run_however_they_lie_on_nodes(minimal: dict[str, Any]) -> None:
    found = set()
    for nodes, per_node in ((1, 8), (2, 4), (8, 1)):
        minimal["spec"]["storage"] = {"accessMode": "ReadWriteMany"}
        minimal["spec"]["resources"] = {"nodes": nodes, "accelerator": {"perNode": per_node}}
        found.add(id_of(minimal))

    assert len(found) == 1


def test_the_whole_id_begins_with_the_part_of_the_spec_and_tells_the_revisions() -> None:
    first = run_id("0" * 12, {"spec.model": "a" * 40, "spec.data.train[0]": "b" * 40})
    same = run_id("0" * 12, {"spec.data.train[0]": "b" * 40, "spec.model": "a" * 40})
    other = run_id("0" * 12, {"spec.model": "a" * 40, "spec.data.train[0]": "c" * 40})

    assert first == same == "000000000000-c8ba428e"
    assert spec_part(first) == spec_part(other) == "0" * 12
    assert first != other


def test_the_id_of_a_stored_job_is_the_same_in_every_release() -> None:
    """Stored jobs hold every default that was there when they were made.

    A default that changes makes the stored value count, and with it another run of the same job: its checkpoints would
    not be found, and a model that was published be trained again. So defaults of what is trained change only with the
    API version (ADR 28); new fields are free.
    """
    stored = json.loads((Path(__file__).parent / "stored_job.json").read_bytes())

    assert id_of(stored["job"]) == stored["id"]


def test_a_result_with_much_to_say_fits_the_termination_message_and_keeps_its_numbers() -> None:
    dimensions = [DimensionScore(dimension=d, baseline=0.123456, final=0.654321) for d in range(16, 0, -1)]
    scores = [EvaluationScore(name="pages", metric="ndcg@10", baseline=0.1, final=0.9, dimensions=dimensions)]
    result = RunResult(
        role=Role.TRAIN, reason=Reason.TRAINED, message="m" * 1200, evaluations=scores, warnings=["w" * 400] * 20
    )

    message = result.to_termination_message()

    assert len(message.encode()) <= RESULT_LIMIT_BYTES
    again = RunResult.model_validate_json(message)
    assert (again.evaluations, again.warnings[-1]) == (scores, CUT)


def test_of_many_evaluation_sets_the_main_metric_of_each_fits_the_termination_message() -> None:
    scores = [
        EvaluationScore(name=f"set-{number}", metric=metric, baseline=0.123456, final=0.654321)
        for number in range(16)
        for metric in ("ndcg@10", "mrr@10", "recall@10")
    ]
    result = RunResult(role=Role.TRAIN, reason=Reason.TRAINED, evaluations=scores)

    message = result.to_termination_message()

    assert len(message.encode()) <= RESULT_LIMIT_BYTES
    again = RunResult.model_validate_json(message)
    assert (again.evaluations, again.warnings) == (scores[::3], [CUT])


def test_of_the_last_lines_of_a_log_the_oldest_give_way_to_the_rest_of_a_termination_message() -> None:
    lines = [f"{number:0240}" for number in range(20)]
    result = RunResult(role=Role.TRAIN, reason=Reason.TRAINER_ERROR, message="m" * 1200, last_lines=lines)

    message = result.to_termination_message()
    again = RunResult.model_validate_json(message)

    assert RESULT_LIMIT_BYTES - 250 < len(message.encode()) <= RESULT_LIMIT_BYTES
    assert again == result.model_copy(update={"last_lines": lines[-len(again.last_lines) :]})
    assert len(again.last_lines) > 8


def test_a_curve_is_the_first_to_give_way_in_a_termination_message() -> None:
    curve = [CurvePoint(step=1000 + step, loss=0.123456, score=0.654321) for step in range(MAX_CURVE_POINTS)]
    lines = [f"{number:0240}" for number in range(8)]
    small = RunResult(role=Role.TRAIN, reason=Reason.TRAINED, curve=curve, message="m" * 1200)
    large = small.model_copy(update={"last_lines": lines})

    assert RunResult.model_validate_json(small.to_termination_message()) == small
    assert RunResult.model_validate_json(large.to_termination_message()) == large.model_copy(update={"curve": []})
    crowded = small.model_copy(update={"warnings": ["w" * 400] * 20})
    kept = {"curve": [], "warnings": [*crowded.warnings[:3], CUT]}
    assert RunResult.model_validate_json(crowded.to_termination_message()) == crowded.model_copy(update=kept)


def test_progress_with_more_points_than_a_status_keeps_is_not_taken() -> None:
    points = [{"step": step} for step in range(MAX_CURVE_POINTS + 1)]

    with pytest.raises(ValidationError, match="curve"):
        Progress.model_validate({"attempt": 1, "progress": {}, "curve": points})


def test_a_small_result_is_passed_on_whole() -> None:
    result = RunResult(role=Role.PREPARE, reason=Reason.BAD_SAMPLES, message="3 of 10 rows", warnings=["w"])

    again = RunResult.model_validate(json.loads(result.to_termination_message()))

    assert again == result


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_says_whose_move_it_is(reason: Reason) -> None:
    guidance = GUIDANCE[reason]

    assert guidance.next_step or guidance.fault is Fault.NOBODY


def test_reasons_of_one_exit_code_agree_on_retrying() -> None:
    by_code: dict[ExitCode, set[bool]] = {}
    for reason, code in EXIT_CODES.items():
        by_code.setdefault(code, set()).add(GUIDANCE[reason].retried)

    assert {code: values for code, values in by_code.items() if len(values) > 1} == {}


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.123456789, 0.123457), (1.8e-05, 1.8e-05), (123456789.0, 123457000.0)]
)
def test_numbers_keep_six_significant_digits(value: float, rounded: float) -> None:
    assert round_significant(value) == rounded


def test_no_failure_ends_with_the_exit_code_of_a_success() -> None:
    successes = {reason for reason in Reason if exit_code_of(reason) is ExitCode.SUCCESS}

    assert successes == {reason for reason in Reason if GUIDANCE[reason].fault is Fault.NOBODY}


def test_a_killed_rank_has_an_exit_code_of_its_own() -> None:
    assert exit_code_of(Reason.RANK_KILLED) is ExitCode.RANK_KILLED


@pytest.mark.parametrize(
    "answer",
    [
        {"progress": {"step": 10**400}},
        {"progress": {"step": 2**63}},
        {"progress": {"step": -1}},
        {"progress": {"stage": "A" * 60_000}},
        {"progress": {"lastUpdateTime": "soon"}},
        {"checkpoint": {"step": 1, "time": "yesterday"}},
        {"checkpoint": {"step": 1, "time": "0001-01-01T00:00:00+14:00"}},
        {"lastStepTime": "now"},
    ],
    ids=lambda answer: str(answer)[:60],
)
def test_what_a_pod_reports_is_checked_before_it_gets_into_a_status(answer: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Progress.model_validate({"attempt": 1, "progress": {}, **answer})


def test_what_a_newer_release_says_besides_is_left_alone() -> None:
    more = {"role": "train", "reason": "Trained", "model": {"revision": "c0", "quantized": True}, "carbon": 1}
    status = {"phase": "Training", "conditions": [], "image": {"name": "trainer:2", "signedBy": "acme"}}

    assert RunResult.model_validate(more).model == ModelStatus(revision="c0")
    assert FinetuneJobStatus.model_validate(status).image == ImageStatus(name="trainer:2")
