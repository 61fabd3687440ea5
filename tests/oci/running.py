"""The registry of the test cluster, on a free loopback port and over a folder of its own."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import binaries
from tests.cluster.registry import MANIFESTS
from tests.listening import free_port, wait_for


@dataclass(frozen=True)
class RunningRegistry:
    """One that answers at `host`, a name with a port."""

    host: str
    folder: Path

    def get(self, path: str) -> bytes | None:
        """Return what there is below /v2/, None if there is nothing."""
        request = urllib.request.Request(f"http://{self.host}/v2/{path}", headers={"Accept": MANIFESTS})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return None

    def manifest(self, repository: str, reference: str) -> dict[str, Any] | None:
        """Return what a tag or a digest names."""
        content = self.get(f"{repository}/manifests/{reference}")
        return None if content is None else dict(json.loads(content))

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository, sorted."""
        content = self.get(f"{repository}/tags/list")
        return [] if content is None else sorted(json.loads(content)["tags"] or ())

    def data_of(self, digest: str) -> Path:
        """Return the file in which a blob is kept."""
        name = digest.removeprefix("sha256:")
        return self.folder / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


@contextmanager
def running_registry(folder: Path, *, certificate: tuple[Path, Path] | None = None) -> Iterator[RunningRegistry]:
    """Run the registry over `folder`, with TLS if it has a certificate and its key."""
    server = RunningRegistry(f"127.0.0.1:{free_port('127.0.0.1')}", folder / "store")
    http: dict[str, Any] = {"addr": server.host}
    if certificate is not None:
        http["tls"] = {"certificate": str(certificate[0]), "key": str(certificate[1])}
    configuration = folder / "registry.yaml"
    storage = {"filesystem": {"rootdirectory": str(server.folder)}, "delete": {"enabled": True}}
    log = {"level": "warn", "accesslog": {"disabled": True}}
    configuration.write_text(yaml.safe_dump({"version": 0.1, "log": log, "storage": storage, "http": http}))
    command = [str(binaries.ensure_registry()), "serve", str(configuration)]
    output, host, port = folder / "output.log", *server.host.split(":")
    environment = {"OTEL_TRACES_EXPORTER": "none"}
    with (
        output.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process,
    ):
        try:
            wait_for((host, int(port)), process, output)
            yield server
        finally:
            process.terminate()
