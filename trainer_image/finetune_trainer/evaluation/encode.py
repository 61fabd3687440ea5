# ruff: noqa: N806 - tensors carry their shape in their names
"""Embeds many texts or images once, each on one rank. Only paths and embeddings travel, never decoded images.

Shapes: N items, D embedding dimensions.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from sentence_transformers import SentenceTransformer

from finetune_trainer.distributed.ranks import Ranks
from finetune_trainer.evaluation.dataset import Items
from finetune_trainer.model.inputs import InputReader

EncodingRole = Literal["query", "document"]


@dataclass(frozen=True)
class Encoder:
    """A model, and how to feed it."""

    model: SentenceTransformer
    reader: InputReader
    ranks: Ranks
    batch_size: int
    autocast: torch.dtype | None = None
    """Precision of matrix products, as in training; None for that of the weights."""
    on_batch: Callable[[], None] = lambda: None
    """Called on every rank after the same number of batches; may end the run by raising on all of them."""

    def encode(self, items: Items, *, role: EncodingRole) -> torch.Tensor:
        """Return float32 embeddings (N, D) on the CPU, in the order of `items`, on every rank."""
        order = batching_order(items)
        shards = [order[rank :: self.ranks.world_size] for rank in range(self.ranks.world_size)]
        mine = shards[self.ranks.rank]
        batches = [
            self._encode_batch(items, role, mine[start : start + self.batch_size]) for start in self._starts(shards)
        ]
        parts = self.ranks.gather_rows(torch.cat(batches))
        embeddings_ND = torch.empty(len(order), max(part.shape[1] for part in parts))
        for shard, part in zip(shards, parts, strict=True):
            embeddings_ND[shard] = part
        return embeddings_ND

    def _starts(self, shards: Sequence[Sequence[int]]) -> range:
        """Return where each batch begins in a shard; the first shard is the longest, and all make as many rounds."""
        return range(0, len(shards[0]), self.batch_size)

    def _encode_batch(self, items: Items, role: EncodingRole, indices: Sequence[int]) -> torch.Tensor:
        embeddings = torch.empty(0, 0)
        if indices:
            inputs = [self.reader.read(items.cells[index], items.modality) for index in indices]
            encode = self.model.encode_query if role == "query" else self.model.encode_document
            with self._autocast():
                encoded = encode(inputs, batch_size=len(inputs), convert_to_tensor=True, show_progress_bar=False)
            embeddings = encoded.float().cpu()
        self.on_batch()
        return embeddings

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.ranks.device.type, dtype=self.autocast)


def batching_order(items: Items) -> list[int]:
    """Return indices so that texts of like length share a batch, longest first; images stay as they are."""
    indices = range(len(items.cells))
    if items.modality == "image":
        return list(indices)
    return sorted(indices, key=lambda index: -len(items.cells[index]))
