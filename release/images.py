"""The images of a release: built, pushed, and pulled back by their digests."""

import os
from dataclasses import dataclass

from tests.cluster import base_image, engine, images
from tests.cluster.paths import exclusive
from tests.cluster.progress import say


@dataclass(frozen=True)
class Pushed:
    """An image in the registry."""

    repository: str
    tag: str
    digest: str


def push(registry: str, version: str) -> tuple[str, list[Pushed]]:
    """Build and push every image; return the base that they were built on, and where they are, trainer's CPU last.

    Raises:
        SystemExit: one cannot be built.
        subprocess.CalledProcessError: one cannot be pushed, or is not there afterwards.
    """
    with exclusive("images"):
        builder = engine.find()
        base = os.environ.get("BASE_IMAGE") or base_image.ensure(builder)
        variants = ((images.OPERATOR, version), (images.TRAINER, version), (images.TRAINER_CPU, f"{version}-cpu"))
        return base, [_push(builder, image, base, f"{registry}/finetune-{image.name}", tag) for image, tag in variants]


def _push(builder: engine.Engine, image: images.Image, base: str, repository: str, tag: str) -> Pushed:
    reference = f"{repository}:{tag}"
    say(f"Image {reference}")
    builder.build(image.dockerfile, image=reference, base=base, arguments=image.arguments)
    digest = builder.push(reference)
    builder.pull(f"{repository}@{digest}")  # the registry has what was pushed, under that digest
    return Pushed(repository, tag, digest)
