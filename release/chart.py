"""The chart of a release: it names the images by their digests, and lies in the registry as an OCI artifact."""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from release.artifact_hub import annotations
from release.images import Pushed
from tests.chart.helm import CHART, Helm
from tests.cluster.engine import LOOPBACK


@dataclass(frozen=True)
class Chart:
    """A packaged chart in the registry."""

    archive: Path
    reference: str
    """Without its tag: what `helm install` takes."""
    digest: str
    """Of the artifact's manifest."""


def push(  # noqa: PLR0913 - what a chart is made of and where it goes
    helm: Helm, registry: str, version: str, values: Mapping[str, Pushed], *, changes: str, folder: Path
) -> Chart:
    """Package the chart into `folder` with images for `values`, push it and read it back.

    Raises:
        HelmError: it cannot be packaged, pushed or pulled.
        SystemExit: the registry has something else under its name.
    """
    archive = package(helm, version, values, changes=changes, folder=folder)
    http = ["--plain-http"] if registry.startswith(LOOPBACK) else []
    told = helm.run("push", archive, f"oci://{registry}/charts", *http)
    reference = f"oci://{registry}/charts/{CHART.name}"
    with tempfile.TemporaryDirectory() as temporary:
        helm.run("pull", reference, "--version", version, "--destination", temporary, *http)
        (pulled,) = Path(temporary).iterdir()
        if sha256(pulled) != sha256(archive):
            raise SystemExit(f"{reference}:{version}: what comes back is not what was pushed; push another version")
    (digest,) = re.findall(r"sha256:[0-9a-f]{64}", told)
    return Chart(archive=archive, reference=reference, digest=digest)


def sha256(path: Path) -> str:
    """Return the digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package(helm: Helm, version: str, values: Mapping[str, Pushed], *, changes: str, folder: Path) -> Path:
    """Package the chart into `folder` with images for `values`; return the archive."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / CHART.name
        shutil.copytree(CHART, copy)
        text = (copy / "values.yaml").read_text()
        (copy / "values.yaml").write_text(with_images(text, values))
        chart = yaml.safe_load((copy / "Chart.yaml").read_text())
        chart["annotations"] |= annotations(values.values(), changes=changes)
        (copy / "Chart.yaml").write_text(yaml.safe_dump(chart, sort_keys=False))
        helm.run("package", copy, "--destination", folder)
    return folder / f"{CHART.name}-{version}.tgz"


def with_images(text: str, values: Mapping[str, Pushed]) -> str:
    """Return the text of values.yaml with repository and digest of each key in it; comments stay."""
    for key, image in values.items():
        section = rf'(?m)(^{key}:\n(?:  .*\n)*?  repository: )""((?:\n  .*)*?\n  digest: )""'
        text, count = re.subn(section, rf'\1"{image.repository}"\2"{image.digest}"', text)
        if count != 1:
            raise AssertionError(f"values.yaml: {key} has no empty repository and digest")
    return text
