"""A real HTTP proxy on this machine: tinyproxy out of Debian's package, unpacked in the cache; nothing is installed."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.inputs.debian_packages import unpack_packages
from tests.chart.promtool import RELEASE
from tests.cluster.content import key_of
from tests.cluster.paths import CACHE, exclusive
from tests.listening import free_port, wait_for

PACKAGE = "tinyproxy-bin"
_ASKED = re.compile(r"Request \(file descriptor \d+\): (\S+ \S+) HTTP")


@dataclass(frozen=True)
class Proxy:
    """One that runs."""

    address: str
    log: Path

    def asked(self) -> list[str]:
        """Return the method and the target of each request."""
        return _ASKED.findall(self.log.read_text())


@contextmanager
def running_proxy(folder: Path, *, host: str) -> Iterator[Proxy]:
    """Run a proxy at an address of this machine, which reaches what this machine does."""
    port = free_port(host)
    proxy = Proxy(f"http://{host}:{port}", folder / "tinyproxy.log")
    settings = [f"Listen {host}", f"Port {port}", "Timeout 600", "LogLevel Connect", f'LogFile "{proxy.log}"']
    (folder / "tinyproxy.conf").write_text("\n".join(settings) + "\n")
    with subprocess.Popen([_program(), "-d", "-c", folder / "tinyproxy.conf"], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for((host, port), process, proxy.log)
            yield proxy
        finally:
            process.terminate()


def _program() -> Path:
    with exclusive("tinyproxy"):
        folder = CACHE / "tinyproxy" / key_of(PACKAGE, RELEASE)
        unpack_packages([PACKAGE], folder=folder)
    return folder / "usr" / "bin" / "tinyproxy"
