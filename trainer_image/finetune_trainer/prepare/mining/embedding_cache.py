"""Embeddings of texts and images for mining, kept in pieces on the volume so that a killed prepare goes on."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from finetune_api.contract import Stage
from finetune_trainer.prepare.tracker import Tracker
from finetune_trainer.workspace.manifest import Modality

Role = Literal["query", "document"]
Floats = npt.NDArray[np.float32]
#: Turns texts or image paths into embeddings of length 1.
Encode = Callable[[Sequence[str], Modality, Role], Floats]

#: Per piece. Images of one piece are in memory together.
_PIECE: dict[Modality, int] = {"text": 512, "image": 32}


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings by one model; a folder may be shared by several."""

    folder: Path
    model: str
    """Names the model beyond doubt: its commit and how it is loaded."""
    encode: Encode
    dataset: str = ""
    """Whose negatives are looked for."""
    tracker: Tracker = field(default_factory=Tracker)

    def embed(self, cells: Sequence[str], modality: Modality, role: Role) -> Floats:
        """Return the embeddings of `cells`, one row each, in order."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return np.concatenate(list(self._pieces(cells, modality, role)))

    def begin(self, *, of: int) -> Callable[[int], None]:
        """Say that so many are embedded, or looked for, from now on; return what is to be told how many are done."""
        return self.tracker.enter(Stage.MINING, dataset=self.dataset, of=of)

    def _pieces(self, cells: Sequence[str], modality: Modality, role: Role) -> Iterator[Floats]:
        count = self.begin(of=len(cells))
        for start in range(0, len(cells), _PIECE[modality]):
            yield self._piece(cells[start : start + _PIECE[modality]], modality, role)
            count(min(start + _PIECE[modality], len(cells)))

    def _piece(self, cells: Sequence[str], modality: Modality, role: Role) -> Floats:
        content = json.dumps([self.model, modality, role, list(cells)])
        path = self.folder / f"{hashlib.sha256(content.encode()).hexdigest()}.npy"
        if path.is_file():
            kept: Floats = np.load(path)
            return kept
        found = self.encode(cells, modality, role)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, found)
        partial.rename(path)
        return found
