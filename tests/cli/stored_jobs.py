"""FinetuneJobs as an API server has them, with statuses as the operator writes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from finetune_cli.cluster.stored import Manifest, StoredJob, read_stored

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


def ago(**parts: float) -> str:
    """Return a time before now as the operator writes it."""
    return (NOW - timedelta(**parts)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str, message: str = "", *, since: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or ago(minutes=50),
        "observedGeneration": 1,
    }


def manifest(phase: str, *conditions: dict[str, Any], spec: dict[str, Any] | None = None, **status: object) -> Manifest:
    """Return a job called search/pages that was made an hour ago."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneJob",
        "metadata": {
            "name": "pages",
            "namespace": "search",
            "uid": "1111",
            "generation": 1,
            "creationTimestamp": ago(hours=1),
        },
        "spec": {
            "model": {"source": "hf://acme/base"},
            "evaluation": {"metric": "ndcg@10"},
            "resources": {"nodes": 2, "accelerator": {"name": "nvidia.com/gpu", "perNode": 4}},
            "publish": {"repository": "acme/better", "tokenSecret": {"name": "hub-token"}},
            **(spec or {}),
        },
        "status": {"observedGeneration": 1, "phase": phase, "conditions": list(conditions), **status},
    }


def unseen(**age: float) -> StoredJob:
    """Return a job that no operator has looked at."""
    found = manifest("Pending") | {"status": {"observedGeneration": -1}}
    found["metadata"]["creationTimestamp"] = ago(**age)
    return read_stored(found)


CURVE = [
    {"step": 1, "loss": 2.0},
    {"step": 20, "loss": 1.6},
    {"step": 40, "loss": 1.2},
    {"step": 50, "loss": 0.9, "score": 0.85},
    {"step": 75, "loss": 0.8},
    {"step": 100, "loss": 0.7, "score": 0.92},
    {"step": 150, "loss": 0.5, "score": 0.9312},
]
STORAGE = {"claim": "pages-666ff6cc-workspace", "size": "200Gi", "goesWithJob": False}
TIMES = {
    "Pending": ago(minutes=60),
    "Preparing": ago(minutes=60),
    "Queued": ago(minutes=52),
    "Training": ago(minutes=50),
}

TRAINING = manifest(
    "Training",
    condition("Validated", "True", "Validated"),
    condition("Scheduled", "True", "Training"),
    condition("Training", "True", "Training", "attempt 2 trains on 2 nodes"),
    condition("ProgressKnown", "True", "Training"),
    condition("Succeeded", "Unknown", "Training", "attempt 2 trains on 2 nodes"),
    attempt=2,
    phaseTimes=TIMES,
    restarts={"userErrors": 0, "infrastructure": 1, "total": 1},
    lastFailure={
        "attempt": 1,
        "reason": "NodeLost",
        "time": ago(minutes=30),
        "step": 110,
        "rank": 5,
        "node": "gpu-2",
        "lines": ["ValueError: boom"],
    },
    progress={
        "stage": "Training",
        "step": 180,
        "totalSteps": 288,
        "percent": 62,
        "text": "180/288 (62 %)",
        "etaSeconds": 185,
        "eta": "3:05 min",
    },
    metrics={"trainLoss": 0.4213, "score": 0.9312, "bestScore": 0.9312, "bestStep": 150, "baselineScore": 0.8881},
    curve=CURVE,
    checkpoint={"step": 150, "time": ago(minutes=2, seconds=10)},
    usage={
        "of": "Accelerators",
        "heldSeconds": 24000,
        "usefulSeconds": 19200,
        "evaluatingSeconds": 1200,
        "unsavedSeconds": 480,
        "lostSeconds": 1920,
        "waitingSeconds": 960,
        "time": ago(minutes=0),
    },
    storage=STORAGE,
)
PREPARING = manifest(
    "Preparing",
    condition("Succeeded", "Unknown", "Preparing", "model and data are fetched and checked"),
    phaseTimes={"Pending": ago(minutes=60), "Preparing": ago(minutes=60)},
    progress={
        "stage": "Reading",
        "dataset": "pages",
        "rows": 41000,
        "totalRows": 100000,
        "percent": 41,
        "text": "Reading 41000/100000 (41 %)",
        "rowsPerSecond": 36.5,
        "rate": "36.5 rows per second",
        "etaSeconds": 1616,
        "eta": "26:56 min",
    },
)
UNSCHEDULABLE = (
    "2 of 2 pods have no node yet: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu. "
    "preemption: 0/2 nodes are available"
)
QUEUED = manifest(
    "Queued",
    condition("Scheduled", "False", "Unschedulable", UNSCHEDULABLE, since=ago(minutes=12, seconds=3)),
    condition("Succeeded", "Unknown", "Unschedulable", UNSCHEDULABLE),
    attempt=1,
    phaseTimes={name: time for name, time in TIMES.items() if name != "Training"},
    storage=STORAGE,
)
SUCCEEDED = manifest(
    "Succeeded",
    condition("Succeeded", "True", "Published", "published as acme/better@0123456789ab"),
    attempt=1,
    phaseTimes={**TIMES, "Publishing": ago(minutes=6), "Succeeded": ago(minutes=5)},
    completionTime=ago(minutes=5),
    progress={"stage": "Done", "step": 288, "totalSteps": 288, "percent": 100, "text": "288/288 (100 %)"},
    metrics={"trainLoss": 0.3, "score": 0.94, "bestScore": 0.94, "bestStep": 288, "baselineScore": 0.8881},
    evaluations=[
        {
            "name": "held-out",
            "metric": "ndcg@10",
            "baseline": 0.8881,
            "final": 0.94,
            "improvementLow": 0.0312,
            "improvementHigh": 0.0704,
            "confidence": 0.95,
        },
        {"name": "held-out", "metric": "recall@10", "baseline": 0.9, "final": 0.97},
    ],
    published={"repository": "acme/better", "commit": "0123456789abcdef0123456789abcdef01234567"},
    storage=STORAGE,
    warnings=["few rows"],
)
MISSING = (
    "2 problems. 1) spec.data.train[0]: dataset pages has no column page; it has query, image. Name columns that are "
    "there. Log: logs/prepare.log on claim pages-666ff6cc-workspace"
)
FAILED = manifest(
    "Failed",
    condition("Succeeded", "False", "ColumnNotFound", MISSING),
    phaseTimes={"Pending": ago(minutes=60), "Preparing": ago(minutes=60), "Failed": ago(minutes=58)},
    completionTime=ago(minutes=58),
    storage=STORAGE,
)
SUSPENDED = manifest(
    "Suspended",
    condition("Succeeded", "Unknown", "Suspended", "spec.suspend is true; set it to false to go on"),
    attempt=2,
    phaseTimes={**TIMES, "Suspended": ago(minutes=40)},
    checkpoint={"step": 20},
    spec={"suspend": True},
)
LOST = "rank 1: ValueError: boom (at rows.py:31). Read the log, which stays on the volume."
RESTARTING = manifest(
    "Restarting",
    condition("Training", "False", "TrainerError", LOST),
    condition("Succeeded", "Unknown", "TrainerError", f"attempt 2 begins from step 40, because {LOST}"),
    attempt=2,
)
#: Ran once before: gangs count on.
RERUN = manifest(
    "Preparing",
    condition("Validated", "Unknown", "Preparing"),
    condition("Succeeded", "Unknown", "Preparing"),
    attempt=3,
)
