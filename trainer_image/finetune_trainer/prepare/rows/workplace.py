"""The folders and stores that reading tables needs."""

from dataclasses import dataclass
from pathlib import Path

from finetune_trainer.prepare.images.store import ImageStore


@dataclass(frozen=True)
class Workplace:
    """Where images go, and where the datasets library may put what it unpacks."""

    images: ImageStore
    cache: Path
    tokens: tuple[str, ...] = ()
    """The model's own tokens of images, videos and audio, which no text may hold."""
