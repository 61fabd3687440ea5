"""HTTP for the operator and Prometheus: what a role says of itself while it runs. Reads, changes nothing."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from finetune_api.base import Contract

logger = logging.getLogger(__name__)
ALL_ADDRESSES = ""
PROGRESS, CURVE = "/progress", "/curve"


@dataclass(frozen=True)
class Page:
    """What is answered at one path; `content` is called from other threads, for each request."""

    content: Callable[[], bytes]
    content_type: str


def json_page(read: Callable[[], Contract]) -> Page:
    """Return the page that answers with what is read at that moment."""
    return Page(lambda: read().model_dump_json(by_alias=True).encode(), "application/json")


@contextlib.contextmanager
def serve_pages(pages: Mapping[str, Page], *, port: int) -> Iterator[int]:
    """Answer from a thread while inside; yields the port, which 0 lets the system choose."""
    server = ThreadingHTTPServer((ALL_ADDRESSES, port), handler_for(pages))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="telemetry", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def handler_for(pages: Mapping[str, Page]) -> type[BaseHTTPRequestHandler]:
    """Return the request handler that answers with `pages`, by path."""

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # whoever asked has not waited for the answer, and asks again
                super().handle()

        def do_GET(self) -> None:
            if (page := pages.get(self.path)) is None:
                self.send_error(HTTPStatus.NOT_FOUND, f"ask for {' or '.join(pages)}")
                return
            body = page.content()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            logger.debug(format, *arguments)

    return Handler
