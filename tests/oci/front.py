"""What may stand before a registry: it asks for a login, breaks in the middle, or says what is not true."""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.oci.running import RunningRegistry

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Front:
    """A server that hands on what it does not answer itself."""

    host: str = ""
    answer: Callable[[BaseHTTPRequestHandler], Answer | None] = field(default=lambda _: None)
    """Its own answer to a request, None to hand it on."""
    after: Callable[[str, str], None] = field(default=lambda *_: None)
    """Called with method and path of what was handed on, before it is answered. ConnectionAbortedError of this or of
    `answer` ends the connection."""
    asked: list[str] = field(default_factory=list)
    """Method and path of each request, without what follows a question mark."""

    def written(self) -> list[str]:
        """Return what was written, in its order: `blob`, or the tag."""
        found = (one.split(" ") for one in self.asked)
        puts = [path for method, path in found if method == "PUT"]
        return ["blob" if "/blobs/" in path else path.rpartition("/")[2] for path in puts]


@contextmanager
def running_front(
    registry: RunningRegistry, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Front]:
    """Run a front of the registry on a free port of `host`, with TLS if `tls` says how."""
    front = Front()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece; in two, each waits for the other side

        def handle_any(self) -> None:
            front.asked.append(f"{self.command} {self.path.partition('?')[0]}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                status, headers, content = front.answer(self) or self.hand_on(body)
            except ConnectionAbortedError:  # of a test that wants it cut off here
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def hand_on(self, body: bytes) -> Answer:
            with closing(http.client.HTTPConnection(registry.host, timeout=60)) as connection:
                outside = {} if tls is None else {"X-Forwarded-Proto": "https"}  # for addresses that it answers with
                connection.request(self.command, self.path, body=body, headers=dict(self.headers) | outside)
                answer = connection.getresponse()
                content, headers = answer.read(), dict(answer.getheaders())
            front.after(self.command, self.path)
            length = {} if self.command == "HEAD" else {"Content-Length": str(len(content))}
            return answer.status, headers | length, content

        def log_message(self, *_: object) -> None:
            pass

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - as the server calls them

    with ThreadingHTTPServer((host, 0), Handler) as server:
        front.host = f"{host}:{server.server_port}"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()
