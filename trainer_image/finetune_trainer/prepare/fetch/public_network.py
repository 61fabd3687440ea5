"""Connections to public addresses only, and none that outlasts the request that waits for it.

The address that was checked is the one connected to: a name server that answers differently later changes nothing, nor
does it while a connection is kept for the next request.
"""

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore2

#: Ranges that the standard library of some releases takes for public.
_NOT_PUBLIC = [ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16")]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
#: IPv4 addresses as networks of IPv6 alone write them.
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], Sequence[str]]
Connect = Callable[[str, int, float | None], httpcore2.NetworkStream]


class NotPublicError(Exception):
    """A host name leads to an address of a private network."""


def is_public(text: str) -> bool:
    """Say whether an IP address belongs to the public internet, also where it is wrapped into another."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else address.ipv4_mapped
        if inner is not None:
            return is_public(str(inner))
        if address not in _GLOBAL_UNICAST:
            return False
    reserved = any(address in network for network in _NOT_PUBLIC if network.version == address.version)
    return address.is_global and not (address.is_multicast or address.is_reserved or reserved)


def resolve(host: str, port: int) -> list[str]:
    """Return every address of `host`; raises OSError if there is none."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(address: str, port: int, timeout: float | None) -> httpcore2.NetworkStream:
    """Return a connection to an IP address."""
    return httpcore2.SyncBackend().connect_tcp(address, port, timeout=timeout)


#: When the request of this thread must be done, in seconds of the monotonic clock.
_DEADLINE: ContextVar[float] = ContextVar("deadline")


@contextmanager
def due_by(deadline: float) -> Iterator[None]:
    """Let what this thread asks of a network meanwhile end at `deadline`."""
    before = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(before)


@dataclass(frozen=True)
class TimedNetwork(httpcore2.NetworkBackend):
    """Connections to any address; used for the proxy that the environment names."""

    connect: Connect = connect

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Return a connection to the first address that answers."""
        del timeout, local_address, socket_options
        addresses = self.addresses(host, port)
        for address in addresses[:-1]:
            try:
                return _TimedStream(self.connect(address, port, _left()))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return _TimedStream(self.connect(addresses[-1], port, _left()))

    def addresses(self, host: str, port: int) -> list[str]:
        """Return what to connect to, in this order; at least one."""
        del port
        return [host]


@dataclass(frozen=True)
class PublicNetwork(TimedNetwork):
    """Connections to hosts all of whose addresses are public."""

    resolve: Resolve = resolve

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of the host; raises NotPublicError if any of them is private."""
        try:
            found = list(dict.fromkeys(self.resolve(host, port)))
        except (OSError, UnicodeError) as error:  # the latter for what is no host name
            raise httpcore2.ConnectError(str(error)) from error
        if not found or not all(is_public(address) for address in found):
            raise NotPublicError
        return found


@dataclass(frozen=True)
class _TimedStream(httpcore2.NetworkStream):
    """A connection on which each request ends at its deadline, however steadily the other side drips."""

    inner: httpcore2.NetworkStream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        received: bytes = self.inner.read(max_bytes, timeout=_left())
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self.inner.write(buffer, timeout=_left())

    def start_tls(
        self,
        ssl_context: Any,  # noqa: ANN401 - the library's signature
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        del timeout
        return _TimedStream(self.inner.start_tls(ssl_context, server_hostname, timeout=_left()))

    def close(self) -> None:
        self.inner.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the library's signature
        return self.inner.get_extra_info(info)


def _left() -> float:
    """Return the seconds that are left; raises ReadTimeout if there are none."""
    left = _DEADLINE.get() - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout
    return left
