"""The chart as real Helm renders it."""

import copy
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
Values = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "finetune-operator"
RELEASE = "finetune-operator"
NAMESPACE = "platform"
#: The values without which nothing is rendered.
REQUIRED: Values = {
    "image": {"repository": "registry.example/finetune-operator"},
    "trainerImage": {"repository": "registry.example/finetune-trainer"},
}
#: Values that turn on every template.
EVERYTHING: Values = {
    "serviceMonitor": {"enabled": True},
    "podMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
    "networkPolicy": {"enabled": True},
}


class HelmError(Exception):
    """Helm refused; the message is what it printed."""


@dataclass(frozen=True)
class Helm:
    """A Helm binary and the environment that it runs in."""

    program: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path, values: Values | None = None) -> str:
        """Return what a Helm command prints; `values` are laid over REQUIRED. Raises HelmError if it fails."""
        given = [] if values is None else ["--values", "-"]
        result = subprocess.run(
            [self.program, *arguments, *given],
            input=json.dumps(merged(REQUIRED, values or {})),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise HelmError(result.stdout + result.stderr)
        return result.stdout

    def text(self, values: Values | None = None, *, chart: Path = CHART) -> str:
        """Return the rendered chart; `values` are laid over REQUIRED."""
        return self.run("template", RELEASE, chart, "--namespace", NAMESPACE, values=values or {})

    def render(self, values: Values | None = None) -> list[Manifest]:
        """Return the manifests of the rendered chart; `values` are laid over REQUIRED."""
        documents = yaml.load_all(self.text(values), Loader=yaml.CSafeLoader)
        return [document for document in documents if document]


def merged(base: Values, over: Values) -> Values:
    """Return `base` with `over` laid over it, maps key by key, as Helm does."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        is_map = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if is_map else value
    return result


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return the manifests of that kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the one manifest of that kind."""
    (manifest,) = of_kind(manifests, kind)
    return manifest
