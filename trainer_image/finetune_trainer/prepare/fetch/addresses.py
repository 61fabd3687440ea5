"""Images that rows name by https address: fetched from the hosts that the spec lists, never from anywhere else."""

import ssl
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import httpcore2
import httpx2

from finetune_api.reasons import Reason
from finetune_trainer.hub.errors import pause_seconds
from finetune_trainer.prepare.fetch.public_network import NotPublicError, PublicNetwork, TimedNetwork, due_by
from finetune_trainer.workspace.causes import causes
from finetune_trainer.workspace.failures import RunFailure

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
#: How long an idle connection is kept; most hosts end it later.
_KEPT_SECONDS = 15.0
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
    longest_pause_seconds: float = 60.0
    """Whatever the host asks for."""
    lost_in_a_row: int = 5
    """Images that a host which has delivered none may fail to, each after all attempts, before it is given up."""
    silent_seconds: float = 900.0
    """How long a host that has delivered images may deliver nothing, not even those, before the run ends."""


class Refused(Exception):  # noqa: N818 - it is an answer, told in the user's words
    """Why an image cannot be had; names the host, never the path or the query, which may hold secrets."""

    def __init__(self, because: str, *, for_now: bool = False, pause_seconds: float = 0.0) -> None:
        super().__init__(because)
        self.because = because
        self.for_now = for_now
        self.pause_seconds = pause_seconds
        """How long the host wants to be left alone."""


@dataclass
class Host:
    """What is known of a host; threads share it, and may overwrite each other's news with news as good."""

    delivered: str | None = None
    """The address of an image that it has delivered."""
    failing_since: float | None = None
    """When it began to deliver nothing."""
    lost_in_a_row: int = 0
    due: float = 0.0
    """When it may be asked again."""


@dataclass(frozen=True)
class Addresses:
    """The hosts that may be asked, and how they are."""

    hosts: frozenset[str]
    limits: Limits = Limits()
    network: PublicNetwork = field(default_factory=PublicNetwork)
    certificates: ssl.SSLContext = field(default_factory=httpcore2.default_ssl_context)
    known: defaultdict[str, Host] = field(default_factory=lambda: defaultdict(Host), compare=False)
    """By name."""
    pools: ExitStack = field(default_factory=ExitStack, compare=False)
    """Connections that are kept for further requests; closing it closes them."""

    @classmethod
    def of(cls, hosts: Iterable[str]) -> "Addresses":
        """Return the addresses of `hosts`, whatever their case."""
        return cls(frozenset(host.lower() for host in hosts))

    @cached_property
    def _direct(self) -> httpcore2.ConnectionPool:
        return self._kept(httpcore2.ConnectionPool(network_backend=self.network, **self._settings))

    @cached_property
    def _proxy(self) -> httpcore2.ConnectionPool | None:
        """Return the way through the proxy that the environment names; None if it names none."""
        address = getproxies_environment().get("https")
        if not address:
            return None
        url = httpx2.URL(address if "://" in address else f"http://{address}")
        auth = (url.username, url.password) if url.userinfo else None
        network = TimedNetwork(self.network.connect)
        proxy = httpcore2.HTTPProxy(
            str(url.copy_with(userinfo=b"")), proxy_auth=auth, network_backend=network, **self._settings
        )
        return self._kept(proxy)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"ssl_context": self.certificates, "max_connections": None, "keepalive_expiry": _KEPT_SECONDS}

    def _kept(self, pool: httpcore2.ConnectionPool) -> httpcore2.ConnectionPool:
        return self.pools.enter_context(pool)

    def check(self, address: str) -> None:
        """Raise Refused for an address that may not be asked for."""
        self._checked(address, None)

    def fetch(self, address: str) -> bytes:
        """Return what is at `address`.

        A host that has delivered images is waited for, as rows would be left out for its bad quarter of an hour; one
        that never has would cost minutes per image, and is given up after some.

        Raises:
            Refused: it cannot be had.
            RunFailure: HubUnavailable, the host has fallen silent.

        """
        name = _host(self._checked(address, None))
        host = self.known[name]
        if host.delivered is None and host.lost_in_a_row >= self.limits.lost_in_a_row:
            raise Refused(
                f"image at {name}: not asked for, as the host failed {self.limits.lost_in_a_row} times in a row"
            )
        attempts, was_down = 0, False
        while True:
            try:
                content = self._follow_when_due(address, host)
            except Refused as refused:
                attempts += 1
                if not refused.for_now:
                    host.failing_since, host.lost_in_a_row = None, 0
                    raise
                if attempts >= self.limits.attempts:
                    is_down = self._is_down(name, host, refused)
                    if not is_down and not was_down:
                        raise
                    attempts, was_down = (attempts, True) if is_down else (0, False)
            else:
                host.delivered, host.failing_since = address, None
                return content
            time.sleep(min(self.limits.pause_seconds * 2**attempts / 2, self.limits.longest_pause_seconds))

    def _follow_when_due(self, address: str, host: Host) -> bytes:
        time.sleep(max(0.0, host.due - time.monotonic()))
        try:
            return self._follow(address)
        except Refused as refused:
            host.due = time.monotonic() + min(refused.pause_seconds, self.limits.longest_pause_seconds)
            raise

    def _is_down(self, name: str, host: Host, refused: Refused) -> bool:
        """Say whether a host that has not delivered an image delivers nothing else either, and count how long."""
        if host.delivered is None:
            host.lost_in_a_row += 1
            return False
        if self._delivers(host.delivered, host):
            host.failing_since = None
            return False
        host.failing_since = host.failing_since or time.monotonic()
        if time.monotonic() - host.failing_since > self.limits.silent_seconds:
            message = (
                f"data.allowImageUrls: {name} has delivered images, but none for {self.limits.silent_seconds / 60:.0f} "
                f"minutes ({refused}); wait until it does"
            )
            raise RunFailure(Reason.HUB_UNAVAILABLE, message) from refused
        return True

    def _delivers(self, address: str, host: Host) -> bool:
        """Tell a host that is down from an image that is broken: whether it delivers what it has delivered before."""
        try:
            self._follow_when_due(address, host)
        except Refused as refused:
            return not refused.for_now
        return True

    def _follow(self, address: str) -> bytes:
        deadline = time.monotonic() + self.limits.seconds
        url = self._checked(address, None)
        for _ in range(self.limits.redirects + 1):
            with due_by(deadline):
                found = self._ask(url)
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

    def _ask(self, url: httpx2.URL) -> bytes | str:
        """Return the content at `url`, or the address that it redirects to."""
        target = httpcore2.URL(scheme=b"https", host=url.raw_host, port=_HTTPS_PORT, target=url.raw_path)
        through = None if proxy_bypass_environment(_host(url)) else self._proxy
        with _told(_host(url)), (through or self._direct).stream("GET", target, headers=_HEADERS) as answer:
            headers = httpx2.Headers(answer.headers)
            if answer.status in _REDIRECTS and "location" in headers:
                return headers["location"]
            if answer.status != HTTPStatus.OK:
                for_now = answer.status in _TRY_AGAIN or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
                raise Refused(
                    f"image at {_host(url)}: the host answers {answer.status}",
                    for_now=for_now,
                    pause_seconds=pause_seconds(headers),
                )
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
    except httpcore2.ProxyError as error:
        raise Refused(f"image at {host}: the proxy answers {error}", for_now=True) from error
    except httpcore2.TimeoutException as error:
        raise Refused(f"image at {host}: it takes too long", for_now=True) from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        if any(isinstance(cause, ssl.SSLError) for cause in causes(error)):
            raise Refused(f"image at {host}: the host has no valid certificate") from error
        raise Refused(f"image at {host}: the host cannot be reached", for_now=True) from error
