"""What a finished demo says, on a status as the operator leaves it."""

from typing import Any

import pytest
from rich.console import Console

from tests.demo.summary import asking, is_the_same, show, summarise

DIMENSIONS = [
    {"dimension": 64, "baseline": 0.048, "final": 0.9396},
    {"dimension": 16, "baseline": 0.05, "final": 0.81},
]
JOB: dict[str, Any] = {
    "status": {
        "phase": "Succeeded",
        "worldSize": 2,
        "evaluations": [
            {"dataset": "held-out", "metric": "ndcg@10", "baseline": 0.048, "final": 0.9396, "dimensions": DIMENSIONS},
            {"dataset": "held-out", "metric": "mrr@10", "baseline": 0.03, "final": 0.92},
            {"dataset": "held-out", "metric": "recall@10", "baseline": 0.11, "final": 1.0},
        ],
        "published": {"repository": "demo/finetuned", "commit": "4f2c"},
        "restarts": {"infrastructure": 1},
        "phaseTimes": {
            "Preparing": "2026-11-26T10:00:01Z",
            "Pending": "2026-11-26T10:00:00Z",
            "Queued": "2026-11-26T10:00:14Z",
            "Training": "2026-11-26T10:00:20Z",
            "Restarting": "2026-11-26T10:00:30Z",
            "Publishing": "2026-11-26T10:01:00Z",
            "Succeeded": "2026-11-26T10:01:03Z",
        },
        "completionTime": "2026-11-26T10:01:03Z",
    }
}
RELOADED = {"ndcg@10": 0.93961, "mrr@10": 0.92, "recall@10": 1.0}
PRINTED = """
Held-out queries
┏━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━━━━┓
┃ metric    ┃ before ┃ after  ┃ gain    ┃
┡━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━━━━┩
│ NDCG@10   │ 0.0480 │ 0.9396 │ +0.8916 │
│ MRR@10    │ 0.0300 │ 0.9200 │ +0.8900 │
│ recall@10 │ 0.1100 │ 1.0000 │ +0.8900 │
└───────────┴────────┴────────┴─────────┘
NDCG@10 by embedding size
┏━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━━━━┓
┃ dimensions ┃ before ┃ after  ┃ gain    ┃
┡━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━━━━┩
│ 64         │ 0.0480 │ 0.9396 │ +0.8916 │
│ 16         │ 0.0500 │ 0.8100 │ +0.7600 │
└────────────┴────────┴────────┴─────────┘
Time
┏━━━━━━━━━━━━┳━━━━━━━━━┓
┃ phase      ┃ seconds ┃
┡━━━━━━━━━━━━╇━━━━━━━━━┩
│ Pending    │ 1       │
│ Preparing  │ 13      │
│ Queued     │ 6       │
│ Training   │ 40      │
│ Publishing │ 3       │
│ whole demo │ 66      │
└────────────┴─────────┘
Published   demo/finetuned at commit 4f2c
Loaded back from the Hub: NDCG@10 0.9396, the same as in the job's status
"""


def summary(reloaded: float = RELOADED["ndcg@10"]) -> dict[str, Any]:
    return summarise(JOB, reloaded={**RELOADED, "ndcg@10": reloaded}, wall_seconds=66.04)


def test_the_summary_holds_what_the_status_and_the_reloaded_model_say() -> None:
    assert summary() == {
        "phase": "Succeeded",
        "worldSize": 2,
        "baselineNdcg10": 0.048,
        "ndcg10": 0.9396,
        "reloadedNdcg10": 0.93961,
        "metrics": {
            "ndcg@10": {"before": 0.048, "after": 0.9396, "reloaded": 0.93961},
            "mrr@10": {"before": 0.03, "after": 0.92, "reloaded": 0.92},
            "recall@10": {"before": 0.11, "after": 1.0, "reloaded": 1.0},
        },
        "dimensions": DIMENSIONS,
        "repository": "demo/finetuned",
        "commit": "4f2c",
        "restarts": {"infrastructure": 1},
        "secondsByPhase": {"Pending": 1, "Preparing": 13, "Queued": 6, "Training": 40, "Publishing": 3},
        "wallSeconds": 66.0,
    }


def test_the_tables_show_before_after_and_where_the_time_went() -> None:
    console = Console(record=True, width=100, color_system=None)

    with console.capture() as printed:
        show(summary(), console)

    assert [line.rstrip() for line in printed.get().splitlines()] == PRINTED.strip().splitlines()


@pytest.mark.parametrize(("reloaded", "is_same"), [(0.93964, True), (0.93966, False), (0.93956, True), (0.9395, False)])
def test_a_reloaded_model_is_the_same_if_four_digits_are(reloaded: float, *, is_same: bool) -> None:
    assert is_the_same(summary(reloaded)) is is_same


def test_whoever_looks_afterwards_is_told_the_cluster_too() -> None:
    assert asking("get nodes", "/my home/kind.kubeconfig") == "KUBECONFIG='/my home/kind.kubeconfig' kubectl get nodes"
