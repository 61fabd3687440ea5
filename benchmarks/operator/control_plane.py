"""etcd, API server and controller manager, real ones, for as long as a benchmark takes, on ports of their own.

There are no nodes and no scheduler: pods are played (player.py). The operator has the rights that the chart grants.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.chart.helm import NAMESPACE, RELEASE, Helm, Manifest
from tests.chart.program import find
from tests.cluster import binaries

ETCD, ETCD_PEER, API_SERVER_PORT = "http://127.0.0.1:22379", "http://127.0.0.1:22380", 26443
ADMINISTRATOR, OPERATOR, CONTROLLERS = "administrator", "operator", "controllers"
#: Static tokens: whoever can reach the machine's loopback and knows them may stop a benchmark.
TOKENS = f"""\
{ADMINISTRATOR},admin,1,"system:masters"
{OPERATOR},system:serviceaccount:{NAMESPACE}:{RELEASE},2,"system:serviceaccounts"
{CONTROLLERS},system:kube-controller-manager,3,"system:masters"
"""
#: Of the controller manager, those that have to do with Jobs; it is not to be what a burst waits for.
CONTROLLER_NAMES = ("job", "garbage-collector", "namespace", "serviceaccount")
REQUESTS_PER_SECOND = 1000
START_SECONDS = 120
INSTALLED = ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding")


@dataclass(frozen=True)
class ControlPlane:
    """One that runs."""

    folder: Path
    programs: Path
    chart: list[Manifest]
    """What the chart with its default values consists of."""
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    """By the names of their programs."""

    @property
    def pids(self) -> dict[str, int]:
        """Return the processes by name."""
        return {name: process.pid for name, process in self.processes.items()}

    @property
    def data(self) -> Path:
        """Return the folder in which etcd keeps everything."""
        return self.folder / "etcd"

    def start(self, name: str) -> None:
        """Start a program, again or for the first time; the API server is waited for."""
        with (self.folder / f"{name}.log").open("a") as log:
            command = [str(self.programs / name), *_ARGUMENTS[name](self)]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
        if name == "kube-apiserver":
            _wait_until_ready(self)

    def kill(self, name: str) -> None:
        """End a program at once: an API server that is asked to end waits for its watches."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def kubeconfig(self, user: str) -> Path:
        """Return the path of a kubeconfig of one of the users."""
        return self.folder / f"{user}.kubeconfig"

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """Return what kubectl prints to the administrator."""
        command = [str(self.programs / "kubectl"), f"--kubeconfig={self.kubeconfig(ADMINISTRATOR)}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout


@contextmanager
def running() -> Iterator[ControlPlane]:
    """Start it with the chart's CRD and roles; end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="finetune-benchmark-") as name:
        folder = Path(name)
        plane = ControlPlane(folder, binaries.ensure(), _render(folder))
        _write_files(plane)
        try:
            plane.start("etcd")
            plane.start("kube-apiserver")
            for user in (ADMINISTRATOR, OPERATOR, CONTROLLERS):
                _write_kubeconfig(plane, user)
            plane.start("kube-controller-manager")
            installed = [one for one in plane.chart if one["kind"] in INSTALLED]
            plane.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(installed))
            plane.kubectl("wait", "--for=condition=Established", "crd/finetunejobs.finetune.dev", "--timeout=60s")
            yield plane
        finally:
            for program in list(plane.processes):
                plane.kill(program)


def _render(folder: Path) -> list[Manifest]:
    program = find()
    if program is None:
        raise SystemExit("helm is missing: it is built from Go modules, and there is no Go; or name one in HELM")
    return Helm(program, {"HOME": str(folder), "PATH": ""}).render()


def _write_files(plane: ControlPlane) -> None:
    (plane.folder / "tokens.csv").write_text(TOKENS)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (plane.folder / "service-account.key").write_bytes(encoded)


def _etcd(plane: ControlPlane) -> list[str]:
    return [
        f"--data-dir={plane.data}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=default={ETCD_PEER}",
        f"--quota-backend-bytes={8 * 2**30}",
        "--log-level=warn",
    ]


def _api_server(plane: ControlPlane) -> list[str]:
    folder = plane.folder
    key = folder / "service-account.key"
    return [
        f"--etcd-servers={ETCD}",
        "--bind-address=127.0.0.1",
        f"--secure-port={API_SERVER_PORT}",
        f"--cert-dir={folder / 'certificates'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--service-account-issuer=https://benchmark.invalid",
        f"--service-account-signing-key-file={key}",
        f"--service-account-key-file={key}",
    ]


def _controller_manager(plane: ControlPlane) -> list[str]:
    return [
        f"--kubeconfig={plane.kubeconfig(CONTROLLERS)}",
        f"--controllers={','.join(f'{name}-controller' for name in CONTROLLER_NAMES)}",
        "--leader-elect=false",
        f"--kube-api-qps={REQUESTS_PER_SECOND}",
        f"--kube-api-burst={2 * REQUESTS_PER_SECOND}",
        "--concurrent-job-syncs=20",
        "--secure-port=0",
    ]


#: Of each program, in the order in which they are started.
_ARGUMENTS: dict[str, Callable[[ControlPlane], list[str]]] = {
    "etcd": _etcd,
    "kube-apiserver": _api_server,
    "kube-controller-manager": _controller_manager,
}


def _wait_until_ready(plane: ControlPlane) -> None:
    """Wait for the certificate that the API server makes for itself, then for its word."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if (plane.folder / "certificates" / "apiserver.crt").exists():
            _write_kubeconfig(plane, ADMINISTRATOR)
            try:
                plane.kubectl("get", "--raw", "/readyz")
            except subprocess.CalledProcessError:
                pass
            else:
                return
        time.sleep(0.5)
    log = (plane.folder / "kube-apiserver.log").read_text()
    raise SystemExit(f"the API server is not ready after {START_SECONDS} s; the end of its log:\n{log[-2000:]}")


def _write_kubeconfig(plane: ControlPlane, user: str) -> None:
    authority = str(plane.folder / "certificates" / "apiserver.crt")
    cluster = {"server": f"https://127.0.0.1:{API_SERVER_PORT}", "certificate-authority": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "benchmark", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": user}}],
        "contexts": [{"name": "benchmark", "context": {"cluster": "benchmark", "user": user}}],
        "current-context": "benchmark",
    }
    plane.kubeconfig(user).write_text(json.dumps(config))
