"""Builds Kubernetes, etcd, CoreDNS, the registry and Helm from Go modules, once per content of `go/`."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.cluster import disk
from tests.cluster.content import key_of, prune
from tests.cluster.paths import BINARIES, GO_SOURCES, exclusive
from tests.cluster.progress import Counter, say

HELM = "helm.sh/helm/v4/cmd/helm"
PACKAGES = ("./kubernetes", "./coredns", "./registry", "./volumes", "./pause", HELM)
# One file serves all of these names: see go/kubernetes/main.go.
KUBERNETES_NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
    "cri",
)
# What the programs say they are, which Kubernetes' own build sets too: charts and clients ask for the version.
VERSIONS = {
    "k8s.io/kubernetes": "k8s.io/component-base/version.gitVersion",
    "helm.sh/helm/v4": "helm.sh/helm/v4/internal/version.version",
}


def folder() -> Path:
    """Return the folder of the binaries that belong to the sources of this checkout, built or not."""
    return BINARIES / key_of(GO_SOURCES)


def ensure() -> Path:
    """Return the folder of the binaries, building them if this content was never built here."""
    target = folder()
    if not target.is_dir():
        _check("Kubernetes", disk.BINARIES_GIB)
        say("Building Kubernetes from Go modules (about 15 minutes on 2 cores, once):")
        _build(target, PACKAGES)
    prune(BINARIES, keep=target.name)
    return target


def helm() -> Path:
    """Return the path of Helm, built or not: with the rest, else in a folder of its own."""
    return _one("helm")


def registry() -> Path:
    """Return the path of the registry, built or not, likewise."""
    return _one("registry")


def ensure_helm() -> Path:
    """Return the path of Helm; it is built alone where nothing of this content was built here."""
    return _ensure_one(helm(), HELM, what="Helm")


def ensure_registry() -> Path:
    """Return the path of the registry, likewise."""
    return _ensure_one(registry(), "./registry", what="the registry")


def _one(name: str) -> Path:
    with_the_rest = folder() / name
    return with_the_rest if with_the_rest.exists() else BINARIES / f"{name}-{folder().name}" / name


def _ensure_one(target: Path, package: str, *, what: str) -> Path:
    with exclusive(target.name):
        if not target.exists():
            _check(what, disk.HELM_GIB)
            say(f"Building {what} from Go modules (about 3 minutes on 2 cores, once):")
            _build(target.parent, (package,))
        prune(BINARIES, keep=target.parent.name)
        return target


def _check(what: str, needed_gib: float) -> None:
    if shutil.which("go") is None:
        raise SystemExit(f"go: not found on PATH, and {what} is built from Go modules; install Go 1.26 or newer")
    disk.check(needed_gib, what=f"building {what}")


def _build(target: Path, packages: Sequence[str]) -> None:
    BINARIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BINARIES, prefix=".building-") as temporary:
        output = Path(temporary) / "bin"
        output.mkdir()
        _compile(packages, output)
        for name in KUBERNETES_NAMES if (output / "kubernetes").exists() else ():
            (output / name).symlink_to("kubernetes")
        output.rename(target)


def _compile(packages: Sequence[str], output: Path) -> None:
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOWORK": "off"}
    needed = _go_list("-deps", *packages, environment=environment)
    versions = _go_list("-m", "-f", "{{.Version}}", *VERSIONS, environment=environment)
    flags = " ".join(
        ["-s -w", *(f"-X {name}={value}" for name, value in zip(VERSIONS.values(), versions, strict=True))]
    )
    command = ["go", "build", "-v", "-trimpath", f"-ldflags={flags}", "-o", f"{output}/", *packages]
    with subprocess.Popen(command, cwd=GO_SOURCES, env=environment, stderr=subprocess.PIPE, text=True) as build:
        printed = _show_progress(build.stderr or (), Counter("packages", total=len(needed)))
    if build.returncode != 0:
        message = "\n".join(["go build failed; its last words:", *printed[-20:]])
        raise SystemExit(message)


def _go_list(*arguments: str, environment: dict[str, str]) -> list[str]:
    command = ["go", "list", *arguments]
    done = subprocess.run(command, cwd=GO_SOURCES, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        message = "\n".join(["go list failed; its last words:", *done.stderr.splitlines()[-20:]])
        raise SystemExit(message)
    return done.stdout.split()


def _show_progress(lines: Iterable[str], counter: Counter) -> list[str]:
    printed = []
    for line in lines:
        printed.append(line.strip())
        counter.advance(printed[-1])
    counter.finish()
    return printed
