"""The operator's own series. Nothing here carries the name of a job; see `job_metrics.py` for those."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
JOB_DURATIONS = (60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600, 7 * 24 * 3600)
Metric = TypeVar("Metric")


class Series(Generic[Metric]):
    """One series: what it is called and says. As an attribute of a Telemetry it is the metric in that registry."""

    def __init__(
        self,
        kind: Callable[..., Metric],
        name: str,
        text: str,
        labels: Iterable[str] = (),
        buckets: Iterable[float] | None = None,
    ) -> None:
        self._kind = kind
        self._arguments = (name, text, labels)
        self._options = {} if buckets is None else {"buckets": buckets}

    def __get__(self, telemetry: "Telemetry", _: type) -> Metric:
        found: Metric = telemetry.metrics[self]
        return found

    def register(self, registry: CollectorRegistry) -> Metric:
        """Make the metric."""
        return self._kind(*self._arguments, registry=registry, **self._options)


class Telemetry:
    """Counters and histograms of one process, in a registry of their own."""

    build = Series(Gauge, "finetune_operator_build_info", "Version of the operator.", ["version"])
    reconciles = Series(Counter, "finetune_operator_reconcile", "Looks at a job, by how they ended.", ["result"])
    reconcile_seconds = Series(
        Histogram, "finetune_operator_reconcile_duration_seconds", "Time of one look at a job.", buckets=DURATIONS
    )
    queue_wait_seconds = Series(
        Histogram,
        "finetune_operator_queue_wait_seconds",
        "Time from an event to the look at its job.",
        buckets=DURATIONS,
    )
    queue_depth = Series(Gauge, "finetune_operator_queue_depth", "Jobs that wait to be looked at.")
    watch_events = Series(Counter, "finetune_operator_watch_events", "Events of the watches.", ["resource"])
    watch_last_event = Series(
        Gauge,
        "finetune_operator_watch_last_event_timestamp_seconds",
        "When a watch last showed anything.",
        ["resource"],
    )
    watch_overdue_seconds = Series(
        Gauge,
        "finetune_operator_watch_overdue_seconds",
        "Age of the oldest change that is known but was not seen on a watch.",
    )
    ignored_objects = Series(
        Gauge,
        "finetune_operator_ignored_objects",
        "Objects with the operator's labels that it leaves alone: not of a FinetuneJob, or not to be read.",
        ["resource", "reason"],
    )
    missing_rights = Series(
        Gauge,
        "finetune_operator_missing_right",
        "1 for each right that the operator was refused when it last needed it.",
        ["verb", "resource"],
    )
    missing_fields = Series(
        Gauge,
        "finetune_operator_crd_missing_fields",
        "Fields that the CRD in the cluster, which is older than the operator, drops.",
    )
    foreign_writes = Series(
        Gauge,
        "finetune_operator_foreign_status_writes",
        "Statuses that somebody else has written since the start, as another operator does.",
    )
    api_requests = Series(
        Counter,
        "finetune_operator_api_requests",
        "Requests to the API server; code 0 is no answer.",
        ["verb", "resource", "code"],
    )
    status_writes = Series(Counter, "finetune_operator_status_writes", "Statuses that were written.")
    progress_writes = Series(
        Counter, "finetune_operator_progress_writes", "Statuses that were written with new progress."
    )
    attempts = Series(
        Counter, "finetune_attempts", "Gangs that were given up, by namespace and reason.", ["namespace", "reason"]
    )
    job_seconds = Series(
        Histogram,
        "finetune_job_duration_seconds",
        "Time from a job's start to its end, by result.",
        ["result"],
        buckets=JOB_DURATIONS,
    )

    def __init__(self, registry: CollectorRegistry, *, version: str) -> None:
        self.registry = registry
        listed = [one for one in vars(Telemetry).values() if isinstance(one, Series)]
        self.metrics: dict[Series[Any], Any] = {one: one.register(registry) for one in listed}
        self.build.labels(version).set(1)
        for result in ("changed", "unchanged", "error"):
            self.reconciles.labels(result)
        for result in ("Succeeded", "Failed"):
            self.job_seconds.labels(result)

    def show_ignored(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Set the gauge of ignored objects, by resource and reason."""
        self.ignored_objects.clear()
        for labels, count in counts.items():
            self.ignored_objects.labels(*labels).set(count)

    def show_missing_rights(self, rights: Iterable[tuple[str, str]]) -> None:
        """Set the gauge of missing rights, by verb and resource."""
        self.missing_rights.clear()
        for labels in rights:
            self.missing_rights.labels(*labels).set(1)
