"""Series as Prometheus sees them."""

from copy import deepcopy
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from finetune_api.status import CheckpointStatus, FinetuneJobStatus, MetricsStatus, Phase, ProgressStatus, UsageStatus
from finetune_operator.shell.job_metrics import JobCollector
from finetune_operator.shell.telemetry import Telemetry
from tests.operator.given import manifest, while_training

TIME = "2026-11-23T09:00:00Z"
JOB = 'name="qwen",namespace="search"'


def scrape(*manifests: dict[str, Any]) -> list[str]:
    registry = CollectorRegistry()
    registry.register(JobCollector(lambda: manifests, skip=lambda *_: None))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_a_training_job_shows_its_numbers() -> None:
    status = while_training().status.model_copy(
        update={
            "metrics": MetricsStatus(train_loss=0.5, score=0.9, best_score=0.92, baseline_score=0.4),
            "progress": ProgressStatus(step=30, total_steps=40, percent=75),
            "checkpoint": CheckpointStatus(step=30, time="2026-11-23T09:00:00Z"),
            "restarts": while_training().status.restarts.model_copy(update={"infrastructure": 2}),
            "usage": UsageStatus(of="Accelerators", held_seconds=90, useful_seconds=60, lost_seconds=7, time=TIME),
        }
    )

    lines = scrape(manifest(status=status))

    assert [line for line in lines if "condition" not in line] == [
        f"finetunejob_train_loss{{{JOB}}} 0.5",
        f"finetunejob_progress_ratio{{{JOB}}} 0.75",
        f"finetunejob_step{{{JOB}}} 30.0",
        f"finetunejob_attempt{{{JOB}}} 1.0",
        f'finetunejob_score{{metric="ndcg@10",{JOB}}} 0.9',
        f'finetunejob_ndcg{{metric="ndcg@10",{JOB}}} 0.9',
        f'finetunejob_best_score{{metric="ndcg@10",{JOB}}} 0.92',
        f'finetunejob_best_ndcg{{metric="ndcg@10",{JOB}}} 0.92',
        f'finetunejob_baseline_score{{metric="ndcg@10",{JOB}}} 0.4',
        f'finetunejob_baseline_ndcg{{metric="ndcg@10",{JOB}}} 0.4',
        f"finetunejob_start_timestamp_seconds{{{JOB}}} 1.7954244e+09",
        f"finetunejob_last_checkpoint_timestamp_seconds{{{JOB}}} 1.7954244e+09",
        f'finetunejob_phase{{{JOB},phase="Training"}} 1.0',
        f'finetunejob_restarts{{kind="user_errors",{JOB}}} 0.0',
        f'finetunejob_restarts{{kind="infrastructure",{JOB}}} 2.0',
        f'finetunejob_usage_seconds_total{{kind="useful",{JOB},of="accelerators"}} 60.0',
        f'finetunejob_usage_seconds_total{{kind="evaluating",{JOB},of="accelerators"}} 0.0',
        f'finetunejob_usage_seconds_total{{kind="lost",{JOB},of="accelerators"}} 7.0',
        f'finetunejob_usage_seconds_total{{kind="waiting",{JOB},of="accelerators"}} 0.0',
        f'finetunejob_info{{kind="None",model="hf://acme/base",{JOB},processes="2"}} 1.0',
        'finetune_jobs{namespace="search",phase="Training"} 1.0',
    ]
    assert f'finetunejob_condition{{{JOB},status="True",type="Training"}} 1.0' in lines


def test_how_far_prepare_is_is_no_share_of_the_steps() -> None:
    reading = ProgressStatus(stage="Reading", rows=30, total_rows=40, percent=75)

    lines = scrape(manifest(status=FinetuneJobStatus(phase=Phase.PREPARING, progress=reading)))

    assert [line for line in lines if "progress" in line or "step" in line] == []


def test_a_score_that_is_no_ndcg_is_no_series_of_that_name() -> None:
    correlated = manifest(status=FinetuneJobStatus(metrics=MetricsStatus(score=0.8, baseline_score=0.7)))
    correlated["spec"]["evaluation"] = {"metric": "spearman"}

    found = [line for line in scrape(correlated) if "score" in line or "ndcg" in line]

    assert found == [
        f'finetunejob_score{{metric="spearman",{JOB}}} 0.8',
        f'finetunejob_baseline_score{{metric="spearman",{JOB}}} 0.7',
    ]


def test_a_number_that_is_not_known_is_no_series() -> None:
    names = {line.partition("{")[0] for line in scrape(manifest())}

    assert names == {"finetunejob_phase", "finetunejob_restarts", "finetunejob_info", "finetune_jobs"}


def test_a_deleted_job_leaves_no_series() -> None:
    assert scrape() == []


def test_labels_of_strange_metrics_are_escaped() -> None:
    strange = deepcopy(manifest(status=FinetuneJobStatus(phase=Phase.FAILED)))
    strange["spec"]["model"]["source"] = 'a"b\nc'

    info = next(line for line in scrape(strange) if line.startswith("finetunejob_info"))

    assert 'model="a\\"b\\nc"' in info


STRANGE_STATUSES: list[dict[str, Any]] = [
    {"checkpoint": {"step": 1, "time": "yesterday"}},
    {"progress": {"step": "many"}},
    {"progress": {"step": 10**400}},
    {"conditions": [{"type": "Succeeded"}]},
    {"conditions": 7},
    {"startTime": 7},
]


@pytest.mark.parametrize("status", STRANGE_STATUSES, ids=str)
def test_a_job_that_cannot_be_read_is_skipped_and_told_and_the_others_keep_their_series(status: dict[str, Any]) -> None:
    strange = manifest("strange") | {"status": status}
    skipped: list[str] = []
    registry = CollectorRegistry()
    jobs = [strange, manifest()]
    registry.register(JobCollector(lambda: jobs, skip=lambda found, _: skipped.append(found["metadata"]["name"])))

    lines = generate_latest(registry).decode().splitlines()

    assert [line for line in lines if not line.startswith("#")] == scrape(manifest())
    assert skipped == ["strange"]


def test_what_is_left_alone_is_counted_as_it_is_now() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry, version="0")
    sample = ("finetune_operator_ignored_objects", {"resource": "pods", "reason": "unreadable"})

    telemetry.show_ignored({("pods", "unreadable"): 2})
    before = registry.get_sample_value(*sample)
    telemetry.show_ignored({})

    assert (before, registry.get_sample_value(*sample)) == (2.0, None)


def test_series_of_the_operator_start_at_zero() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry, version="1.2.3")

    values = {name: registry.get_sample_value(*sample) for name, sample in _samples().items()}

    assert values == {"build": 1.0, "errors": 0.0, "failed": 0.0}
    assert telemetry.registry is registry


def _samples() -> dict[str, tuple[str, dict[str, str]]]:
    return {
        "build": ("finetune_operator_build_info", {"version": "1.2.3"}),
        "errors": ("finetune_operator_reconcile_total", {"result": "error"}),
        "failed": ("finetune_job_duration_seconds_count", {"result": "Failed"}),
    }
