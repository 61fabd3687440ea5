"""Kueue, which queues Jobs: built from its Go module, once, and loaded into every node that runs.

It is no part of the cluster: the tests that need it install its chart, and remove it. Its webhooks refuse the Jobs of
the namespaces that it manages while it is away.
"""

import shutil
import tempfile
from pathlib import Path

from tests.cluster import binaries, disk, go_modules, node, runtime, system_images
from tests.cluster.content import key_of, prune
from tests.cluster.paths import BINARIES, exclusive
from tests.cluster.progress import say

MODULE, VERSION = "sigs.k8s.io/kueue", "v0.17.0"
REPOSITORY = "kueue.test/kueue"
IMAGE = f"{REPOSITORY}:{VERSION}"
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
    with (
        go_modules.built(MODULE, VERSION, "./cmd/kueue") as (manager, sources),
        tempfile.TemporaryDirectory(dir=BINARIES, prefix=".building-") as temporary,
    ):
        output = Path(temporary) / "output"
        output.mkdir()
        shutil.copy2(manager, output / "manager")
        # Who registers an API server that does not answer keeps every namespace of the cluster from being deleted.
        without = shutil.ignore_patterns("visibility")
        shutil.copytree(sources / "charts" / "kueue", output / CHART, ignore=without)
        output.rename(target)


def _load(built: Path, worker: node.Node) -> None:
    programs = binaries.folder()
    if IMAGE in runtime.image_tags(worker.run, programs):
        return
    with tempfile.NamedTemporaryFile(dir=BINARIES, suffix=".tar") as archive:
        layer = system_images.build_layer(programs={"manager": built / "manager"}, links={})
        system_images.write_images(Path(archive.name), {IMAGE: (layer, ["/manager"])})
        runtime.load_images(worker.run, [IMAGE], archive=Path(archive.name), binaries=programs)
