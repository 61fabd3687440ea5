"""Builds the project's images from the checkout, pushes them to the cluster's registry and puts them on its nodes.

A tag is the hash of everything that goes into the image, so a pod that names it runs exactly this code.
"""

import os
from dataclasses import dataclass, replace

from tests.cluster import (
    addresses,
    base_image,
    binaries,
    disk,
    engine,
    image_pruning,
    node,
    processes,
    registry,
    runtime,
)
from tests.cluster.content import key_of
from tests.cluster.paths import REPOSITORY, exclusive
from tests.cluster.progress import say


@dataclass(frozen=True)
class Image:
    """One of the project's images: its Dockerfile and the files of the checkout that go into it."""

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    base: str = ""
    arguments: tuple[str, ...] = ()
    """Of the build, as NAME=VALUE."""

    def key(self, base: str) -> str:
        """Return the hash of all that goes into the image, its base included."""
        return key_of(base, *self.arguments, *(REPOSITORY / path for path in (self.dockerfile, *self.inputs)))


LOCK = ("pyproject.toml", "uv.lock")
OPERATOR = Image("operator", "Dockerfile", (*LOCK, "crds/finetune_api", "operator/finetune_operator"))
TRAINER = Image("trainer", "trainer_image/Dockerfile", (*LOCK, "crds/finetune_api", "trainer_image"))
TRAINER_CPU = replace(TRAINER, arguments=("TORCH=cpu",))
HUB = Image("hub", "tests/hub/Dockerfile", ("tests/hub",), base="operator")


def ensure() -> dict[str, str]:
    """Return the reference of each image, by name; each is in the registry and on every running node.

    Raises:
        SystemExit: the cluster is not up; its registry is where images are pushed to.
    """
    with exclusive("images"):
        if not processes.is_running(registry.NAME):
            message = "cluster: is not up, but its registry takes the images; run `python -m tests.cluster up` first"
            raise SystemExit(message)
        if not registry.STORE.exists():
            disk.check(disk.FIRST_IMAGES_GIB, what="the first build of the images")
        return _ensure(engine.find())


def _ensure(builder: engine.Engine) -> dict[str, str]:
    base = os.environ.get("BASE_IMAGE") or base_image.ensure(builder)
    references: dict[str, str] = {}
    for image in (OPERATOR, TRAINER_CPU, HUB):
        start = references[image.base] if image.base else base
        references[image.name] = _ensure_pushed(builder, image, base=start)
    for worker in filter(node.is_running, node.NODES):
        prefix = f"{addresses.REGISTRY}/finetune-"
        runtime.sync_images(worker.run, list(references.values()), prefix=prefix, binaries=binaries.folder())
    image_pruning.prune(builder, binaries=binaries.folder())
    return references


def _ensure_pushed(builder: engine.Engine, image: Image, *, base: str) -> str:
    reference = f"{addresses.REGISTRY}/finetune-{image.name}:{image.key(base)}"
    image_pruning.note_use(reference)
    if not registry.has(reference):
        if not builder.has(reference):
            say(f"Building the {image.name} image")
            builder.build(image.dockerfile, image=reference, base=base, arguments=image.arguments)
        say(f"Pushing the {image.name} image")
        builder.push(reference)
    return reference
