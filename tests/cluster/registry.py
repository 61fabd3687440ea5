"""An image registry on loopback: where images are pushed once and every node pulls from."""

import subprocess
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

import yaml

from tests.cluster import addresses, processes
from tests.cluster.paths import CLUSTER, IMAGES

NAME = "registry"
STORE = IMAGES / "registry"
CONFIGURATION = CLUSTER / "registry.yaml"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def start(binaries: Path) -> None:
    """Start the registry if it does not run; what was pushed in earlier lives is there."""
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(STORE)}, "delete": {"enabled": True}},
        "http": {"addr": addresses.REGISTRY},
    }
    CONFIGURATION.write_text(yaml.safe_dump(configuration))
    environment = {"OTEL_TRACES_EXPORTER": "none"}
    processes.start(NAME, [binaries / "registry", "serve", CONFIGURATION], environment=environment)


def stop() -> None:
    """Stop the registry."""
    processes.stop(NAME)


def has(reference: str) -> bool:
    """Whether the image was pushed."""
    return _digest(reference) is not None


def delete(reference: str) -> None:
    """Take an image's tag and manifest back; its layers go with `collect_garbage`."""
    digest = _digest(reference)
    if digest is not None:
        _request("DELETE", _repository(reference), digest)


def collect_garbage(binaries: Path) -> None:
    """Delete layers that no image has any more; the registry is away meanwhile."""
    stop()
    command: list[str | Path] = [binaries / "registry", "garbage-collect", "--delete-untagged", CONFIGURATION]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    start(binaries)


def _digest(reference: str) -> str | None:
    try:
        return _request("HEAD", _repository(reference), reference.rpartition(":")[2])
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        return None


def _repository(reference: str) -> str:
    return reference.removeprefix(f"{addresses.REGISTRY}/").rpartition(":")[0]


def _request(method: str, repository: str, manifest: str) -> str | None:
    url = f"http://{addresses.REGISTRY}/v2/{repository}/manifests/{manifest}"
    call = urllib.request.Request(url, method=method, headers={"Accept": MANIFESTS})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=30) as answer:
        digest: str | None = answer.headers.get("Docker-Content-Digest")
        return digest
