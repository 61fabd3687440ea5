"""kube-score, built from its Go module: rules of the field for what runs on Kubernetes."""

import json
import shutil
import subprocess
from pathlib import Path

import yaml

from tests.chart.helm import Manifest
from tests.cluster import disk, go_modules
from tests.cluster.content import key_of, prune
from tests.cluster.paths import BINARIES, exclusive
from tests.cluster.progress import say

MODULE, VERSION = "github.com/zegl/kube-score", "v1.20.0"
MISSING = "kube-score is missing: it is built from a Go module, and there is no Go"
#: Rules that it has and does not apply unless it is asked to.
OPTIONAL = ("container-seccomp-profile", "container-ports-check")
ALL_OK = 10


def find() -> Path | None:
    """Return the program, building it if it was never built here; None where that takes Go."""
    built = BINARIES / f"kube-score-{key_of(MODULE, VERSION)}"
    if shutil.which("go") is None and not built.exists():
        return None
    with exclusive("kube-score"):
        if not built.exists():
            disk.check(disk.HELM_GIB, what="building kube-score")
            say("Building kube-score from its Go module (about 2 minutes on 2 cores, once)")
            with go_modules.built(MODULE, VERSION, "./cmd/kube-score") as (program, _):
                program.rename(built)
        prune(BINARIES, keep=built.name)
    return built


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
