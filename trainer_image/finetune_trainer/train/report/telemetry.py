"""HTTP for the operator and Prometheus: `/progress` as JSON, `/metrics` as text. Reads the tracker, changes nothing."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from finetune_trainer.train.report.tracker import Tracker

logger = logging.getLogger(__name__)
ALL_ADDRESSES = ""


@contextlib.contextmanager
def serve_telemetry(tracker: Tracker, *, port: int) -> Iterator[int]:
    """Answer from a thread while inside; yields the port, which 0 lets the system choose."""
    server = ThreadingHTTPServer((ALL_ADDRESSES, port), handler_for(tracker))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="telemetry", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def handler_for(tracker: Tracker) -> type[BaseHTTPRequestHandler]:
    """Return the request handler that answers from `tracker`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/progress":
                self._answer(tracker.read().model_dump_json(by_alias=True).encode(), "application/json")
            elif self.path == "/metrics":
                self._answer(generate_latest(tracker.series.registry), CONTENT_TYPE_LATEST)
            else:
                self.send_error(HTTPStatus.NOT_FOUND, "ask for /progress or /metrics")

        def _answer(self, body: bytes, content_type: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            logger.debug(format, *arguments)

    return Handler
