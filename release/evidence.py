"""What a release is made of, from what, and how its files are checked: SBOMs, provenance, checksums."""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from release.chart import Chart, sha256
from release.images import Pushed
from tests.stack.install import ROOT

#: By file: what `uv export` is given. The Dockerfiles export the same; the CPU image has what begins with nvidia, cuda
#: and triton not.
SBOMS = {
    "finetune-operator-image": ["--extra", "operator"],
    "finetune-trainer-image": ["--extra", "trainer"],
    "finetune-operator-package": ["--all-extras"],
}


@dataclass(frozen=True)
class Source:
    """The checkout that is released."""

    commit: str
    changed: list[str]
    """Files that differ from the commit."""


def read_source() -> Source:
    """Return what the checkout is."""
    return Source(commit=_git("rev-parse", "HEAD").strip(), changed=_git("status", "--porcelain").splitlines())


def write_sboms(uv: str, folder: Path) -> None:
    """Write a CycloneDX file of the Python packages of each image and of the wheel, out of uv.lock."""
    for name, chosen in SBOMS.items():
        form = ["export", "--frozen", "--no-dev", "--quiet", "--format", "cyclonedx1.5"]
        command = [uv, *form, *chosen, "--output-file", str(folder / f"{name}.cdx.json")]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def provenance(  # noqa: PLR0913 - the parts of the statement
    source: Source,
    *,
    version: str,
    registry: str,
    base_image: str,
    images: Sequence[Pushed],
    chart: Chart,
    files: Iterable[Path],
    began: datetime,
    ended: datetime,
) -> dict[str, Any]:
    """Return an in-toto statement with SLSA provenance (https://slsa.dev/spec/v1.0/provenance). It is not signed."""
    subjects = [(f"{one.repository}:{one.tag}", one.digest.removeprefix("sha256:")) for one in images]
    subjects.append((f"{chart.reference}:{version}", chart.digest.removeprefix("sha256:")))
    subjects += [(path.name, sha256(path)) for path in files]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://finetune.dev/release/v1",
                "externalParameters": {"registry": registry, "version": version},
                "internalParameters": {"baseImage": base_image, "uncommittedChanges": source.changed},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": source.commit}},
                    {"name": "uv.lock", "digest": {"sha256": sha256(ROOT / "uv.lock")}},
                ],
            },
            "runDetails": {
                "builder": {"id": "https://finetune.dev/release/by-hand"},
                "metadata": {"startedOn": began.isoformat(), "finishedOn": ended.isoformat()},
            },
        },
    }


def checksums(files: Iterable[Path]) -> str:
    """Return the files' digests as `sha256sum --check` reads them."""
    return "".join(f"{sha256(path)}  {path.name}\n" for path in files)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
