"""Kueue, which queues Jobs: built from its Go module, once, and loaded into every node that runs.

It is no part of the cluster: the tests that need it install its chart, and remove it. Its webhooks refuse the Jobs of
the namespaces that it manages while it is away.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster import binaries, disk, node, runtime, system_images
from tests.cluster.content import key_of, prune
from tests.cluster.paths import BINARIES, exclusive
from tests.cluster.progress import say

MODULE, VERSION = "sigs.k8s.io/kueue", "v0.17.0"
REPOSITORY = "kueue.test/kueue"
IMAGE = f"{REPOSITORY}:{VERSION}"
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
CHART = "chart"


def ensure() -> Path:
    """Return Kueue's chart; the image that it needs is on every node that runs."""
    with exclusive("kueue"):
        built = BINARIES / f"kueue-{key_of(Path(__file__))}"
        if not built.is_dir():
            disk.check(disk.HELM_GIB, what="building Kueue")
            say("Building Kueue from its Go module (about 3 minutes on 2 cores, once)")
            _build(built)
        prune(BINARIES, keep=built.name)
        for worker in filter(node.is_running, node.NODES):
            _load(built, worker)
    return built / CHART


def _build(target: Path) -> None:
    """Build it as a main module of its own, as its authors do: its dependencies are others than Kubernetes'."""
    with tempfile.TemporaryDirectory(dir=BINARIES, prefix=".building-") as temporary:
        sources, output = Path(temporary) / "sources", Path(temporary) / "output"
        shutil.copytree(_download(), sources)
        subprocess.run(["chmod", "--recursive", "u+w", sources], check=True)
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", f"{output}/manager", "./cmd/kueue"]
        subprocess.run(command, check=True, cwd=sources, env=os.environ | ENVIRONMENT)
        # Who registers an API server that does not answer keeps every namespace of the cluster from being deleted.
        without = shutil.ignore_patterns("visibility")
        shutil.copytree(sources / "charts" / "kueue", output / CHART, ignore=without)
        output.rename(target)


def _download() -> Path:
    command = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=BINARIES, env=os.environ | ENVIRONMENT)
    return Path(json.loads(done.stdout)["Dir"])


def _load(built: Path, worker: node.Node) -> None:
    programs = binaries.folder()
    if IMAGE in runtime.image_tags(worker.run, programs):
        return
    with tempfile.NamedTemporaryFile(dir=BINARIES, suffix=".tar") as archive:
        layer = system_images.build_layer(programs={"manager": built / "manager"}, links={})
        system_images.write_images(Path(archive.name), {IMAGE: (layer, ["/manager"])})
        runtime.load_images(worker.run, [IMAGE], archive=Path(archive.name), binaries=programs)
