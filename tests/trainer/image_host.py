"""A host of images for tests: real TLS on loopback, reached by names and addresses of the test's choice."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpcore2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from finetune_trainer.prepare.fetch.addresses import Addresses, Limits
from finetune_trainer.prepare.fetch.public_network import PublicNetwork, connect

PUBLIC = "93.184.216.34"
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class ImageHost:
    """A running server; every host name leads to it, by the addresses in `names`."""

    port: int
    certificates: ssl.SSLContext
    answers: dict[str, list[Answer]]
    """Path to its answers, one after the other; the last one stays."""
    names: dict[str, Sequence[str]] = field(default_factory=dict)
    """Host to IP addresses; a public one by default."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Host and target of each request."""
    connected: list[str] = field(default_factory=list)
    """IP address of each connection."""
    unknown: set[str] = field(default_factory=set)
    """Hosts that have no address."""
    unreachable: set[str] = field(default_factory=set)
    """IP addresses that nothing answers at."""
    pools: ExitStack = field(default_factory=ExitStack)
    """Connections that clients keep."""

    def addresses(self, *hosts: str, limits: Limits | None = None) -> Addresses:
        """Return what fetches from `hosts` here instead of from where they are."""
        return Addresses(
            hosts=frozenset(hosts),
            limits=limits or Limits(pause_seconds=0),
            network=PublicNetwork(resolve=self._resolve, connect=self._connect),
            certificates=self.certificates,
            pools=self.pools,
        )

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        assert port == 443
        if host in self.unknown:
            raise OSError("no such host")
        return self.names.get(host, [PUBLIC])

    def _connect(self, address: str, port: int, timeout: float | None) -> httpcore2.NetworkStream:
        assert port == 443
        if address in self.unreachable:
            raise httpcore2.ConnectError
        self.connected.append(address)
        return connect("127.0.0.1", self.port, timeout)


def content(body: bytes, **headers: str) -> Answer:
    """Return an answer with a body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def status(code: int, **headers: str) -> Answer:
    """Return an answer without a body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def dripping(ended: threading.Event) -> Answer:
    """Return an answer that sends a byte every now and then until `ended`."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        while not ended.wait(0.01):
            request.wfile.write(b"-")

    return answer


@contextmanager
def running_image_host(folder: Path, *hosts: str) -> Iterator[ImageHost]:
    """Run a server with a certificate for `hosts`; files go to `folder`."""
    certificate, key = _certify(folder, hosts)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    host = ImageHost(server.server_port, ssl.create_default_context(cafile=certificate), answers={})
    server.RequestHandlerClass = _handler(host)
    server.socket = server_side.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with host.pools:
            yield host
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running_proxy(asked: list[str], *, port: int | None) -> Iterator[int]:
    """Run a proxy that leads to `port` of this machine whatever it is asked for, None: that refuses; give its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(f"CONNECT {self.path} {self.headers['Proxy-Authorization']}")
            if port is None:
                self.send_error(403)
                return
            self.send_response(200)
            self.end_headers()
            with socket.create_connection(("127.0.0.1", port)) as there:
                back = threading.Thread(target=_pump, args=(there, self.connection))
                back.start()
                _pump(self.connection, there)
                back.join()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Hand on bytes until there are no more, or one side is gone."""
    with suppress(ConnectionError):  # who does not trust the server leaves at once
        while received := source.recv(65_536):
            sink.sendall(received)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _handler(host: ImageHost) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host.asked.append((self.headers["Host"], self.path))
            answers = host.answers[self.path.partition("?")[0]]
            (answers.pop(0) if len(answers) > 1 else answers[0])(self)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def _certify(folder: Path, hosts: Sequence[str]) -> tuple[Path, Path]:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "host.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "host.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "host.crt", folder / "host.key"
