"""`finetune list`: a line for each job."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from finetune_cli.cluster.shapes import age, columns
from finetune_cli.cluster.stored import StoredJob

_HEAD = ["NAME", "STATUS", "PROGRESS", "LOSS", "SCORE", "BEFORE", "LEFT", "RESTARTS", "AGE"]


def table(jobs: Sequence[StoredJob], now: datetime, *, with_namespace: bool) -> Iterator[str]:
    """Yield the lines of the table, jobs that were made last first."""
    newest_first = sorted(jobs, key=lambda job: job.created, reverse=True)
    rows = [[*([job.namespace] if with_namespace else []), *_row(job, now)] for job in newest_first]
    return columns([[*(["NAMESPACE"] if with_namespace else []), *_HEAD], *rows])


def _row(job: StoredJob, now: datetime) -> list[str]:
    status, metrics = job.status, job.status.metrics
    numbers = (metrics.train_loss, metrics.score, metrics.baseline_score) if metrics else (None, None, None)
    progress = status.progress
    return [
        job.name,
        str((job.manifest.get("status") or {}).get("phase", job.phase)),  # a newer operator may know more
        progress.text if progress else "",
        *("" if number is None else f"{number:.4f}" for number in numbers),
        progress.eta if progress and not job.is_finished else "",
        str(status.restarts.total),
        age((now - job.created).total_seconds()),
    ]
