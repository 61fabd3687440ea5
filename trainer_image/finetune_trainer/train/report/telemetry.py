"""What rank 0 tells operator, track pod and Prometheus: `/progress` and `/curve` as JSON, `/metrics` as text."""

from contextlib import AbstractContextManager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from finetune_trainer.train.report.tracker import Tracker
from finetune_trainer.workspace.telemetry import CURVE, PROGRESS, Page, json_page, serve_pages


def serve_telemetry(tracker: Tracker, *, port: int) -> AbstractContextManager[int]:
    """Answer from a thread while inside; gives the port, which 0 lets the system choose."""
    metrics = Page(lambda: generate_latest(tracker.series.registry), CONTENT_TYPE_LATEST)
    pages = {PROGRESS: json_page(tracker.read), CURVE: json_page(tracker.kept_curve), "/metrics": metrics}
    return serve_pages(pages, port=port)
