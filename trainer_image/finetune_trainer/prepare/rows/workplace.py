"""The folders and stores that reading tables needs."""

from dataclasses import dataclass, field
from pathlib import Path

from finetune_trainer.prepare.images.store import ImageStore
from finetune_trainer.prepare.tracker import Tracker


@dataclass(frozen=True)
class Workplace:
    """Where images go, and where the datasets library may put what it unpacks."""

    images: ImageStore
    cache: Path
    tokens: tuple[str, ...] = ()
    """The model's own tokens of images, videos and audio, which no text may hold."""
    tracker: Tracker = field(default_factory=Tracker)
    """Is told how far reading has come."""
