"""What goes into the model. A text stays a text, whatever it looks like; an image is opened when its turn comes."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modality import infer_modality

from finetune_trainer.recipe.model.pixels import as_seen
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.manifest import Modality

#: What the library takes for one text or image; the dictionary says `text` beyond doubt.
ModelInput = str | dict[str, str] | Image.Image
MEDIA = ("image", "video", "audio")


@dataclass(frozen=True)
class InputReader:
    """Turns cells of prepared tables into model inputs; two of them make the pair of a reranker."""

    images: KeptImages
    modalities: Sequence[str]
    """What the library may take a text for."""

    @classmethod
    def of(cls, model: SentenceTransformer | CrossEncoder, *, images: Path) -> Self:
        """Return the reader for `model`; `images` is the folder of the job's images."""
        return cls(KeptImages(images), modalities=mistakable(model))

    def read(self, cell: str, modality: Modality) -> ModelInput:
        """Return the image that the cell names, or the cell's text."""
        if modality == "image":
            return open_image(self.images.read(cell))
        return as_text(cell, modalities=self.modalities)


def open_image(content: bytes) -> Image.Image:
    """Return the decoded image as people see it."""
    with Image.open(io.BytesIO(content)) as image:
        return as_seen(image)


def areas_of(names: Iterable[str], images: KeptImages) -> dict[str, int]:
    """Return the pixels of each image, of which only the beginning is decoded."""
    areas = {}
    for name in names:
        with Image.open(io.BytesIO(images.read(name))) as image:
            areas[name] = image.width * image.height
    return areas


def as_text(text: str, *, modalities: Sequence[str]) -> str | dict[str, str]:
    """Return `text` so that the library does not take it for the name of an image and open or fetch that.

    The library decides by the look of a string: `st/base/modality.py::infer_modality`.
    """
    if infer_modality(text, supported_modalities=list(modalities)) == "text":
        return text
    return {"text": text}


def mistakable(model: SentenceTransformer | CrossEncoder) -> list[str]:
    """Return what the library may take a text for when `model` reads it.

    It looks at the halves of a pair without regard to what the model supports, but only where it makes structured
    messages of them (`InputFormatter.pair_to_messages`); elsewhere only a plain string remains one.
    """
    if not isinstance(model, CrossEncoder):
        return [name for name in model.modalities if isinstance(name, str)]
    structured = "message" in model.modalities and model[0].input_formatter.message_format == "structured"
    return ["text", *MEDIA] if structured else ["text"]
