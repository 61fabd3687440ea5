"""What rank 0 tells the operator and Prometheus: `/progress` as JSON, `/metrics` as text."""

from contextlib import AbstractContextManager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from finetune_trainer.train.report.tracker import Tracker
from finetune_trainer.workspace.telemetry import PROGRESS, Page, progress_page, serve_pages


def serve_telemetry(tracker: Tracker, *, port: int) -> AbstractContextManager[int]:
    """Answer from a thread while inside; gives the port, which 0 lets the system choose."""
    metrics = Page(lambda: generate_latest(tracker.series.registry), CONTENT_TYPE_LATEST)
    return serve_pages({PROGRESS: progress_page(tracker.read), "/metrics": metrics}, port=port)
