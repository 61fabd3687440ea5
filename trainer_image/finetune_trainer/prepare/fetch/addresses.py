"""Images that rows name by https address: fetched from the hosts that the spec lists, never from anywhere else."""

import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import httpcore2
import httpx2

from finetune_trainer.prepare.fetch.public_network import NotPublicError, PublicNetwork
from finetune_trainer.workspace.causes import causes

#: Answers after which the same question may be answered.
_TRY_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_HTTPS_PORT = 443
_HEADERS = [("User-Agent", "finetune-operator"), ("Accept", "image/*"), ("Accept-Encoding", "identity")]


@dataclass(frozen=True)
class Limits:
    """What one image may cost."""

    bytes: int = 20_000_000
    seconds: float = 30.0
    """From the first connection to the last byte, redirects included."""
    redirects: int = 5
    attempts: int = 3
    pause_seconds: float = 0.5
    """Before the second attempt; twice as long before each further one."""
    lost_in_a_row: int = 5
    """Images that a host may fail to deliver, each after all attempts, before it is given up for the job."""


class Refused(Exception):  # noqa: N818 - it is an answer, told in the user's words
    """Why an image cannot be had; names the host, never the path or the query, which may hold secrets."""

    def __init__(self, because: str, *, for_now: bool = False) -> None:
        super().__init__(because)
        self.because = because
        self.for_now = for_now


@dataclass(frozen=True)
class Addresses:
    """The hosts that may be asked, and how they are."""

    hosts: frozenset[str]
    limits: Limits = Limits()
    network: Callable[[float], PublicNetwork] = PublicNetwork
    """Makes the network of one request from its deadline."""
    certificates: ssl.SSLContext = field(default_factory=httpcore2.default_ssl_context)
    lost: Counter[str] = field(default_factory=Counter, compare=False)
    """Images in a row that each host failed to deliver; threads may count one too few, which does no harm."""

    @classmethod
    def of(cls, hosts: Iterable[str]) -> "Addresses":
        """Return the addresses of `hosts`, whatever their case."""
        return cls(frozenset(host.lower() for host in hosts))

    def fetch(self, address: str) -> bytes:
        """Return what is at `address`; raises Refused.

        A host that is silent would cost minutes per image: after some of them nothing more is asked of it.
        """
        host = _host(self._checked(address, None))
        if self.lost[host] >= self.limits.lost_in_a_row:
            raise Refused(
                f"image at {host}: not asked for, as the host failed {self.limits.lost_in_a_row} times in a row"
            )
        try:
            content = self._try(address)
        except Refused as refused:
            self.lost[host] = self.lost[host] + 1 if refused.for_now else 0
            raise
        self.lost[host] = 0
        return content

    def _try(self, address: str) -> bytes:
        for attempt in range(self.limits.attempts):
            try:
                return self._follow(address)
            except Refused as refused:
                if not refused.for_now or attempt + 1 == self.limits.attempts:
                    raise
            time.sleep(self.limits.pause_seconds * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _follow(self, address: str) -> bytes:
        deadline = time.monotonic() + self.limits.seconds
        url = self._checked(address, None)
        for _ in range(self.limits.redirects + 1):
            found = self._ask(url, deadline)
            if isinstance(found, bytes):
                return found
            url = self._checked(found, url)
        raise Refused(f"image at {_host(url)} is redirected more than {self.limits.redirects} times")

    def _checked(self, address: str, base: httpx2.URL | None) -> httpx2.URL:
        """Return the address if it may be asked for; `base` is what redirected to it."""
        what = "image" if base is None else f"image at {_host(base)} is redirected, to one"
        try:
            url = httpx2.URL(address) if base is None else base.join(address)
        except (httpx2.InvalidURL, ValueError) as error:
            raise Refused(f"{what} at an address that is none") from error
        if url.scheme != "https" or url.port not in (None, _HTTPS_PORT) or url.userinfo:
            raise Refused(f"{what} at an address that is not plain https://HOST/PATH")
        if _host(url) not in self.hosts:
            raise Refused(f"{what} at {_host(url)[:100]}, which data.allowImageUrls does not name")
        return url

    def _ask(self, url: httpx2.URL, deadline: float) -> bytes | str:
        """Return the content at `url`, or the address that it redirects to."""
        target = httpcore2.URL(scheme=b"https", host=url.raw_host, port=_HTTPS_PORT, target=url.raw_path)
        with (
            _told(_host(url)),
            # A connection of its own for each request, as its network ends with the request.
            httpcore2.ConnectionPool(
                ssl_context=self.certificates, network_backend=self.network(deadline), max_keepalive_connections=0
            ) as pool,
            pool.stream("GET", target, headers=_HEADERS) as answer,
        ):
            location = {name.lower(): value for name, value in answer.headers}.get(b"location")
            if answer.status in _REDIRECTS and location is not None:
                return str(location, "latin-1")
            if answer.status != HTTPStatus.OK:
                for_now = answer.status in _TRY_AGAIN or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
                raise Refused(f"image at {_host(url)}: the host answers {answer.status}", for_now=for_now)
            return self._read(answer, _host(url))

    def _read(self, answer: httpcore2.Response, host: str) -> bytes:
        content = bytearray()
        for chunk in answer.iter_stream():
            content += chunk
            if len(content) > self.limits.bytes:
                raise Refused(f"image at {host}: it has more than {self.limits.bytes} bytes")
        return bytes(content)


def is_address(name: str) -> bool:
    """Say whether an image is named by an address, not by a path."""
    return "://" in name


def _host(url: httpx2.URL) -> str:
    return url.raw_host.decode("ascii")


@contextmanager
def _told(host: str) -> Iterator[None]:
    try:
        yield
    except NotPublicError as error:
        raise Refused(f"image at {host}: the host has a private address") from error
    except httpcore2.TimeoutException as error:
        raise Refused(f"image at {host}: it takes too long", for_now=True) from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        if any(isinstance(cause, ssl.SSLError) for cause in causes(error)):
            raise Refused(f"image at {host}: the host has no valid certificate") from error
        raise Refused(f"image at {host}: the host cannot be reached", for_now=True) from error
