"""What goes into the model. A text stays a text, whatever it looks like; an image is opened when its turn comes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from sentence_transformers.base.modality import infer_modality

from finetune_trainer.data.manifest import Modality

#: What the library takes for one text or image; the dictionary says `text` beyond doubt.
ModelInput = str | dict[str, str] | Image.Image


@dataclass(frozen=True)
class InputReader:
    """Turns cells of prepared tables into model inputs."""

    images: Path
    """Folder below which image cells are paths."""
    modalities: Sequence[str]
    """What the model can encode."""

    def read(self, cell: str, modality: Modality) -> ModelInput:
        """Return the image that the cell names, or the cell's text."""
        if modality == "image":
            return open_image(self.images / cell)
        return as_text(cell, modalities=self.modalities)


def open_image(path: Path) -> Image.Image:
    """Return the decoded image in RGB; the file is closed again."""
    with Image.open(path) as image:
        return image.convert("RGB")


def as_text(text: str, *, modalities: Sequence[str]) -> str | dict[str, str]:
    """Return `text` so that the library does not take it for the name of an image and open or fetch that.

    The library decides by the look of a string: `st/base/modality.py::infer_modality`.
    """
    if infer_modality(text, supported_modalities=list(modalities)) == "text":
        return text
    return {"text": text}
