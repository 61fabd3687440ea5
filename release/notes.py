"""The release notes: how to install it, what is in it, and what the changelog says."""

import re
from collections.abc import Sequence

from release.chart import Chart
from release.images import Pushed

NOTES = """\
# finetune-operator {version}

```console
helm install finetune-operator {reference} --version {version} \\
  --namespace finetune-system --create-namespace
```

| image | digest |
|---|---|
{images}
| {reference}:{version} | {digest} |

The chart names operator and trainer by these digests. The trainer for CPUs, without NVIDIA's libraries, is taken with
`--set trainerImage.digest= --set trainerImage.tag={version}-cpu`.

`sha256sum --check SHA256SUMS` checks the files. `provenance.json` says from which commit all of it was built; it is not
signed, and neither are images and chart. The SBOMs (`*.cdx.json`) list Python packages, not those of the base image.

{changes}
"""


def release_notes(version: str, *, changes: str, images: Sequence[Pushed], chart: Chart) -> str:
    """Return the notes of a version; `changes` is its section of the changelog."""
    rows = [f"| {one.repository}:{one.tag} | {one.digest} |" for one in images]
    return NOTES.format(
        version=version,
        reference=chart.reference,
        digest=chart.digest,
        images="\n".join(rows),
        changes=changes,
    )


def section(changelog: str, version: str) -> str:
    """Return what the changelog says of a version; of what is not released yet if it does not name the version."""
    parts = dict(re.findall(r"(?ms)^## \[?([^\]\s]+).*?\n(.*?)(?=^## |\Z)", changelog))
    return str(parts.get(version, parts.get("Unreleased", ""))).strip()
