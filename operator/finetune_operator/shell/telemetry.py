"""The operator's own series. Nothing here carries the name of a job; see `job_metrics.py` for those."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
JOB_DURATIONS = (60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600, 7 * 24 * 3600)


class Telemetry:
    """Counters and histograms of one process, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry, *, version: str) -> None:
        self.registry = registry
        build = Gauge("finetune_operator_build_info", "Version of the operator.", ["version"], registry=registry)
        build.labels(version).set(1)
        self.reconciles = Counter(
            "finetune_operator_reconcile", "Looks at a job, by how they ended.", ["result"], registry=registry
        )
        self.reconcile_seconds = Histogram(
            "finetune_operator_reconcile_duration_seconds",
            "Time of one look at a job.",
            buckets=DURATIONS,
            registry=registry,
        )
        self.queue_wait_seconds = Histogram(
            "finetune_operator_queue_wait_seconds",
            "Time from an event to the look at its job.",
            buckets=DURATIONS,
            registry=registry,
        )
        self.queue_depth = Gauge("finetune_operator_queue_depth", "Jobs that wait to be looked at.", registry=registry)
        self.watch_events = Counter(
            "finetune_operator_watch_events", "Events of the watches.", ["resource"], registry=registry
        )
        self.watch_last_event = Gauge(
            "finetune_operator_watch_last_event_timestamp_seconds",
            "When a watch last showed anything.",
            ["resource"],
            registry=registry,
        )
        self.watch_overdue_seconds = Gauge(
            "finetune_operator_watch_overdue_seconds",
            "Age of the oldest change that is known but was not seen on a watch.",
            registry=registry,
        )
        self.ignored_objects = Gauge(
            "finetune_operator_ignored_objects",
            "Objects with the operator's labels that it leaves alone: not of a FinetuneJob, or not to be read.",
            ["resource", "reason"],
            registry=registry,
        )
        self.missing_rights = Gauge(
            "finetune_operator_missing_right",
            "1 for each right that the operator was refused when it last needed it.",
            ["verb", "resource"],
            registry=registry,
        )
        self.missing_fields = Gauge(
            "finetune_operator_crd_missing_fields",
            "Fields that the CRD in the cluster, which is older than the operator, drops.",
            registry=registry,
        )
        self.foreign_writes = Gauge(
            "finetune_operator_foreign_status_writes",
            "Statuses that somebody else has written since the start, as another operator does.",
            registry=registry,
        )
        self.api_requests = Counter(
            "finetune_operator_api_requests",
            "Requests to the API server; code 0 is no answer.",
            ["verb", "code"],
            registry=registry,
        )
        self.status_writes = Counter(
            "finetune_operator_status_writes", "Statuses that were written.", registry=registry
        )
        self.progress_writes = Counter(
            "finetune_operator_progress_writes", "Statuses that were written with new progress.", registry=registry
        )
        self.attempts = Counter(
            "finetune_attempts",
            "Gangs that were given up, by namespace and reason.",
            ["namespace", "reason"],
            registry=registry,
        )
        self.job_seconds = Histogram(
            "finetune_job_duration_seconds",
            "Time from a job's start to its end, by result.",
            ["result"],
            buckets=JOB_DURATIONS,
            registry=registry,
        )
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
