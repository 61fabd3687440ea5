"""Gauges of each FinetuneJob, built from the cache at scrape time: a deleted job leaves nothing behind.

Labels are the job's namespace and name, and values from short fixed lists. A number that is not known is not exported,
and a job that cannot be read does not cost the others their series.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from finetune_api.evaluators import is_ndcg
from finetune_api.status import Phase
from finetune_api.types import Evaluation
from finetune_operator.core.decision import Manifest

JOB = ("namespace", "name")
#: Name, help and where in the status the number is.
NUMBERS = (
    ("finetunejob_train_loss", "Training loss of the newest log interval.", ("metrics", "trainLoss"), 1.0),
    ("finetunejob_learning_rate", "Learning rate of the newest log interval.", ("metrics", "learningRate"), 1.0),
    ("finetunejob_progress_ratio", "Share of the planned steps made.", ("progress", "percent"), 0.01),
    ("finetunejob_step", "Optimizer steps made.", ("progress", "step"), 1.0),
    ("finetunejob_attempt", "Number of the gang that trains or trained last.", ("attempt",), 1.0),
)
#: Name, name of the same where the metric is NDCG, of what it is, and where in the status it is.
SCORES = (
    ("finetunejob_score", "finetunejob_ndcg", "at the newest evaluation", ("metrics", "score")),
    ("finetunejob_best_score", "finetunejob_best_ndcg", "of the best model so far", ("metrics", "bestScore")),
    ("finetunejob_baseline_score", "finetunejob_baseline_ndcg", "of the base model", ("metrics", "baselineScore")),
)
TIMES = (
    ("finetunejob_start_timestamp_seconds", "When the operator took the job up.", ("startTime",)),
    ("finetunejob_completion_timestamp_seconds", "When the job ended.", ("completionTime",)),
    (
        "finetunejob_last_checkpoint_timestamp_seconds",
        "When the checkpoint was written.",
        ("checkpoint", "time"),
    ),
)
RESTARTS = (("user_errors", ("restarts", "userErrors")), ("infrastructure", ("restarts", "infrastructure")))
USAGE = [(kind, ("usage", f"{kind}Seconds")) for kind in ("useful", "evaluating", "lost", "waiting")]
NUMBER_PATHS = [
    *(entry[2] for entry in NUMBERS),
    *(entry[3] for entry in SCORES),
    *(path for _, path in (*RESTARTS, *USAGE)),
]


class JobCollector(Collector):
    """Reads the jobs anew at each scrape."""

    def __init__(self, jobs: Callable[[], Iterable[Manifest]], *, skip: Callable[[Manifest, str], None]) -> None:
        self._jobs = jobs
        self._skip = skip
        """Told of a job that cannot be read, and why."""

    def collect(self) -> Iterator[Metric]:
        """Yield all families, each made when its turn comes; a family without a job is left out."""
        jobs = list(self._readings())
        singles = (family(jobs) for family in (_restarts, _usage, _info, _totals))
        for family in chain(_numbers(jobs), _scores(jobs), _times(jobs), _states(jobs), singles):
            if family.samples:
                yield family

    def _readings(self) -> Iterator["_Reading"]:
        for manifest in self._jobs():
            try:
                yield _Reading(manifest)
            except Exception as error:  # noqa: BLE001 - much may stand in a status that a pod has a say in
                self._skip(manifest, repr(error))

    def describe(self) -> list[Metric]:
        """Return nothing: the registry need not collect to know the names."""
        return []


class _Reading:
    """What is exported of one job, with nothing of its manifest kept; its status may be empty."""

    def __init__(self, manifest: Manifest) -> None:
        spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
        self.labels = [str(manifest["metadata"][label]) for label in JOB]
        self.phase = str(status.get("phase") or Phase.PENDING.value)
        if self.phase == Phase.PREPARING:
            status = {**status, "progress": None}  # of rows, not of steps
        self.metric = str(_at(spec, ("evaluation", "metric")) or Evaluation().metric)
        self.numbers = {path: float(value) for path in NUMBER_PATHS if (value := _at(status, path)) is not None}
        self.usage_of = str(_at(status, ("usage", "of"))).lower()
        self.times = {
            path: datetime.fromisoformat(value).timestamp()
            for *_, path in TIMES
            if (value := _at(status, path)) is not None
        }
        self.conditions = [(str(entry["type"]), str(entry["status"])) for entry in status.get("conditions") or ()]
        self.info = [str(_at(spec, ("model", field))) for field in ("source", "kind")] + [
            str(status.get("worldSize") or 0)
        ]


def _at(node: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _numbers(jobs: list[_Reading]) -> Iterator[GaugeMetricFamily]:
    for name, text, path, factor in NUMBERS:
        family = GaugeMetricFamily(name, text, labels=JOB)
        for job in jobs:
            if (value := job.numbers.get(path)) is not None:
                family.add_metric(job.labels, value * factor)
        yield family


def _scores(jobs: list[_Reading]) -> Iterator[GaugeMetricFamily]:
    for name, ndcg_name, of_what, path in SCORES:
        labels = [*JOB, "metric"]
        scores = GaugeMetricFamily(name, f"spec.evaluation.metric {of_what}.", labels=labels)
        ndcg = GaugeMetricFamily(ndcg_name, f"The same where it is NDCG: {of_what}.", labels=labels)
        for job in jobs:
            if (value := job.numbers.get(path)) is not None:
                scores.add_metric([*job.labels, job.metric], value)
                if is_ndcg(job.metric):
                    ndcg.add_metric([*job.labels, job.metric], value)
        yield from (scores, ndcg)


def _times(jobs: list[_Reading]) -> Iterator[GaugeMetricFamily]:
    for name, text, path in TIMES:
        family = GaugeMetricFamily(name, text, labels=JOB)
        for job in jobs:
            if (value := job.times.get(path)) is not None:
                family.add_metric(job.labels, value)
        yield family


def _states(jobs: list[_Reading]) -> Iterator[GaugeMetricFamily]:
    phases = GaugeMetricFamily("finetunejob_phase", "1 for the phase the job is in.", labels=[*JOB, "phase"])
    conditions = GaugeMetricFamily(
        "finetunejob_condition", "1 for the status each condition has.", labels=[*JOB, "type", "status"]
    )
    for job in jobs:
        phases.add_metric([*job.labels, job.phase], 1)
        for condition in job.conditions:
            conditions.add_metric([*job.labels, *condition], 1)
    yield phases
    yield conditions


def _restarts(jobs: list[_Reading]) -> GaugeMetricFamily:
    family = GaugeMetricFamily("finetunejob_restarts", "Charged restarts of the gang.", labels=[*JOB, "kind"])
    for job in jobs:
        for label, path in RESTARTS:
            family.add_metric([*job.labels, label], job.numbers.get(path, 0))
    return family


def _usage(jobs: list[_Reading]) -> CounterMetricFamily:
    text = "What gangs have held, by what came of it: seconds of accelerators, or of processes where a job has none."
    family = CounterMetricFamily("finetunejob_usage_seconds", text, labels=[*JOB, "of", "kind"])
    for job in jobs:
        for kind, path in USAGE:
            if (value := job.numbers.get(path)) is not None:
                family.add_metric([*job.labels, job.usage_of, kind], value)
    return family


def _info(jobs: list[_Reading]) -> GaugeMetricFamily:
    family = GaugeMetricFamily("finetunejob_info", "What the job trains.", labels=[*JOB, "model", "kind", "processes"])
    for job in jobs:
        family.add_metric([*job.labels, *job.info], 1)
    return family


def _totals(jobs: list[_Reading]) -> GaugeMetricFamily:
    family = GaugeMetricFamily("finetune_jobs", "FinetuneJobs by namespace and phase.", labels=["namespace", "phase"])
    for (namespace, phase), count in sorted(Counter((job.labels[0], job.phase) for job in jobs).items()):
        family.add_metric([namespace, phase], count)
    return family
