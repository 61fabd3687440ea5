"""What Artifact Hub shows of the chart: https://artifacthub.io/docs/topics/annotations/helm/."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from finetune_api.crd import build_crd
from release.images import Pushed
from tests.stack.install import ROOT

#: The example that runs as it is.
EXAMPLE = ROOT / "examples" / "quickstart.yaml"


def annotations(images: Iterable[Pushed], *, changes: str) -> dict[str, str]:
    """Return the annotations of a release's chart; `changes` is a version's section of the changelog."""
    parts: dict[str, list[Any]] = {
        "crds": [_crd()],
        "crdsExamples": [yaml.safe_load(EXAMPLE.read_text())],
        "images": [_image(image) for image in images],
        "changes": list_changes(changes),
    }
    return {
        f"artifacthub.io/{name}": yaml.safe_dump(part, sort_keys=False, allow_unicode=True)
        for name, part in parts.items()
    }


def _crd() -> dict[str, str]:
    crd = build_crd()["spec"]
    (version,) = crd["versions"]
    kind = crd["names"]["kind"]
    return {
        "kind": kind,
        "version": version["name"],
        "name": f"{crd['names']['plural']}.{crd['group']}",
        "displayName": kind,
        "description": version["schema"]["openAPIV3Schema"]["description"],
    }


def _image(image: Pushed) -> dict[str, str]:
    name = image.repository.rpartition("/")[2]
    return {"name": name, "image": f"{image.repository}:{image.tag}@{image.digest}"}


def list_changes(section: str) -> list[dict[str, str]]:
    """Return the lines of a changelog's section as Artifact Hub has them; links become their words."""
    changes = []
    for kind, lines in re.findall(r"(?ms)^### (\w+)\n(.*?)(?=^### |\Z)", section):
        for line in re.findall(r"(?ms)^- (.*?)(?=^- |\Z)", lines):
            description = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(line.split()))
            changes.append({"kind": kind.lower(), "description": description})
    return changes
