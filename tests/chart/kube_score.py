"""kube-score, built from its Go module: rules of the field for what runs on Kubernetes."""

import json
import subprocess
from pathlib import Path

import yaml

from tests.chart.helm import Manifest
from tests.cluster import go_modules

MODULE, VERSION = "github.com/zegl/kube-score", "v1.20.0"
MISSING = "kube-score is missing: it is built from a Go module, and there is no Go"
#: Rules that it has and does not apply unless it is asked to.
OPTIONAL = ("container-seccomp-profile", "container-ports-check")
ALL_OK = 10


def find() -> Path | None:
    """Return the program, building it if it was never built here; None where that takes Go."""
    return go_modules.find(MODULE, VERSION, "./cmd/kube-score", minutes=2)


def findings(program: Path, manifests: list[Manifest], *, kubernetes: str) -> set[tuple[str, str]]:
    """Return each kind of object with each rule that not all of its containers follow."""
    asked = [option for name in OPTIONAL for option in ("--enable-optional-test", name)]
    command: list[str | Path] = [
        program,
        "score",
        "--output-format=json",
        f"--kubernetes-version=v{kubernetes}",
        *asked,
        "-",
    ]
    done = subprocess.run(
        command, input=yaml.safe_dump_all(manifests), stdout=subprocess.PIPE, text=True, check=False
    )  # it fails where it finds something
    return {
        (one["type_meta"]["kind"], check["check"]["id"])
        for one in json.loads(done.stdout)
        for check in one["checks"]
        if not check["skipped"] and check["grade"] < ALL_OK
    }
