"""Images that are in many pairs of a reranker, prepared once.

Losses make pairs of the columns and preprocess each pair when its turn comes: an image that is a positive, a
negative of other queries, and part of a cached mini-batch comes up six times in a step and more. So does a page in an
evaluation, where it is a candidate of several queries. Here an image carries
what the image processor made of it; copies of the image, of which the library makes several, carry the same.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from PIL.Image import Image
from sentence_transformers import CrossEncoder
from transformers import BatchFeature

#: Key in `Image.info`, which copies share.
PREPARED = "prepared"


def remember(image: Image) -> None:
    """Let the image carry what is made of it."""
    image.info[PREPARED] = {}


class ImagesOnce:
    """Stands in for an image processor whose output for several images is that for each, one after another."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401 - the library's, of any model
        self._inner = inner

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._inner, name)

    def __call__(self, images: Any, **settings: Any) -> Any:  # noqa: ANN401
        """Return the batch of all images, each prepared at most once."""
        flat = list(flatten(images))
        if not flat or not all(isinstance(image, Image) and PREPARED in image.info for image in flat):
            return self._inner(images, **settings)
        for image in flat:
            if not image.info[PREPARED]:
                image.info[PREPARED].update(self._inner([image], **settings))
        made = [image.info[PREPARED] for image in flat]
        if not can_be_joined(made):
            return self._inner(images, **settings)
        return BatchFeature({name: torch.cat([one[name] for one in made]) for name in made[0]})


def flatten(images: Any) -> Iterator[Any]:  # noqa: ANN401 - nested as the processor likes it
    """Yield the images of nested lists in order."""
    if isinstance(images, list | tuple):
        for one in images:
            yield from flatten(one)
    elif images is not None:
        yield images


def can_be_joined(made: list[Mapping[str, Any]]) -> bool:
    """Return whether the parts are tensors that differ only in how many rows they have."""
    kinds = [{name: kind_of(part) for name, part in one.items()} for one in made]
    return None not in kinds[0].values() and all(one == kinds[0] for one in kinds)


def kind_of(part: Any) -> tuple[torch.dtype, torch.Size] | None:  # noqa: ANN401 - what a processor returns
    """Return dtype and shape of a row; None if `part` is no tensor with rows."""
    return (part.dtype, part.shape[1:]) if torch.is_tensor(part) and part.ndim else None


@contextmanager
def images_once(model: CrossEncoder) -> Iterator[None]:
    """While inside, prepare images that carry what is made of them only once; outside the model is as it was."""
    processor: Any = getattr(model[0], "processor", None)
    inner = getattr(processor, "image_processor", None)
    if inner is None:
        yield
        return
    processor.image_processor = ImagesOnce(inner)
    try:
        yield
    finally:
        processor.image_processor = inner
