"""A cluster of one node in a container, with the images of this checkout and no registry: for `make demo-kind`."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.progress import say
from tests.stack.install import ROOT
from tests.stack.target import IMAGE_VARIABLES

NAME = "finetune-demo"
KUBECONFIG = ROOT / "build" / "demo" / "kind.kubeconfig"
ENGINES = ("docker", "podman")
IMAGES = {name: f"localhost/finetune-{name}:demo" for name in IMAGE_VARIABLES}
#: By image: what is built, in this order.
BUILDS = {
    "operator": ["--file", "Dockerfile"],
    "trainer": ["--file", "trainer_image/Dockerfile", "--build-arg", "TORCH=cpu"],
    "hub": ["--file", "tests/hub/Dockerfile", "--build-arg", f"BASE_IMAGE={IMAGES['operator']}"],
}


def up() -> None:
    """Have the cluster with the images on its node, and have it named in the environment as anybody's would be.

    Raises:
        SystemExit: a program is missing.
    """
    engine = _find_engine()
    KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
    if NAME not in _run("kind", "get", "clusters", output=True).split():
        _run("kind", "create", "cluster", "--name", NAME, "--kubeconfig", str(KUBECONFIG), "--wait", "3m")
    else:  # `make clean` may have removed the file, but not the cluster
        _run("kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", str(KUBECONFIG))
    for name, arguments in BUILDS.items():
        say(f"Building the {name} image")
        _run(engine, "build", "--tag", IMAGES[name], *arguments, ".")
    _load(engine)
    os.environ["KUBECONFIG"] = str(KUBECONFIG)
    os.environ |= {variable: IMAGES[name] for name, variable in IMAGE_VARIABLES.items()}


def down() -> None:
    """Remove the cluster; the images stay with the engine."""
    _find_engine()
    _run("kind", "delete", "cluster", "--name", NAME, "--kubeconfig", str(KUBECONFIG))


def _find_engine() -> str:
    """Return the engine that builds and runs; kind is told where it is not Docker."""
    found = [engine for engine in ENGINES if shutil.which(engine)]
    missing = [program for program in ("kind", "kubectl", "helm") if shutil.which(program) is None]
    missing += [] if found else [" or ".join(ENGINES)]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: not found on PATH, but the demo on kind needs it; install it")
    if found[0] != "docker":
        os.environ["KIND_EXPERIMENTAL_PROVIDER"] = found[0]
    return found[0]


def _load(engine: str) -> None:
    """Put the images on the node: Docker's out of its store, others' as an archive."""
    if engine == "docker":
        _run("kind", "load", "docker-image", "--name", NAME, *IMAGES.values())
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = str(Path(folder) / "images.tar")
        _run(engine, "save", "--multi-image-archive", "--output", archive, *IMAGES.values())
        _run("kind", "load", "image-archive", "--name", NAME, archive)


def _run(*command: str, output: bool = False) -> str:
    done = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE if output else None)
    return done.stdout or ""
