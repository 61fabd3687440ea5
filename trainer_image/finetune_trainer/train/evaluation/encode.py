# ruff: noqa: N806 - tensors carry their shape in their names
"""Embeds every distinct text and image of all sets once, each on one rank. Only paths and embeddings travel.

Shapes: N items, D embedding dimensions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router

from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.train.evaluation.dataset import EvaluationSet, Items, PairSet, RerankingSet, TripletSet
from finetune_trainer.train.evaluation.shares import Shares, longest_first
from finetune_trainer.workspace.manifest import Modality

EncodingRole = Literal["query", "document", "either"]
"""With "either" a text has no prompt but the model's default one, as in the library's evaluators of pairs."""
Roles = tuple[EncodingRole, EncodingRole]
"""Of the two sides of a set."""
QUERIES_AND_DOCUMENTS: Roles = ("query", "document")
#: About 1000 tokens. A CPU is busy with that; more at once takes memory and is slower.
CHARACTERS_AT_ONCE_ON_CPU = 4096


@dataclass(frozen=True)
class Encoded:
    """The embeddings of distinct cells in one role and modality."""

    rows: Mapping[str, int]
    embeddings: torch.Tensor
    """(N, D)."""


@dataclass(frozen=True)
class Embeddings:
    """What an embedding model makes of the sets: similarities of their embeddings, whole or cut to a dimension.

    Cosine needs no renormalisation after the cut, as it divides by lengths.
    """

    model: SentenceTransformer
    encoded: Mapping[tuple[EncodingRole, Modality], Encoded]

    def of(self, items: Items, *, role: EncodingRole, dimension: int | None = None) -> torch.Tensor:
        """Return the float32 embeddings (N, D) of `items`, cut to their first `dimension` values."""
        found = self.encoded[role, items.modality]
        rows = [found.rows[cell] for cell in items.cells]
        # All there is, in order, is not copied: a corpus can be most of the memory.
        return found.embeddings[slice(None) if rows == list(range(len(found.rows))) else rows, :dimension]

    def similarities(
        self, queries: Items, documents: Items, *, dimension: int | None, roles: Roles = QUERIES_AND_DOCUMENTS
    ) -> np.ndarray:
        """Return the similarity of each query to the document in the same place."""
        queries_ND = self.of(queries, role=roles[0], dimension=dimension)
        documents_ND = self.of(documents, role=roles[1], dimension=dimension)
        return np.asarray(self.model.similarity_pairwise(queries_ND, documents_ND))

    def score_pairs(self, dataset: PairSet, *, dimension: int | None) -> np.ndarray:
        """Return the score of each row."""
        roles = pair_roles(self.model)
        return self.similarities(dataset.queries, dataset.documents, dimension=dimension, roles=roles)

    def score_candidates(self, dataset: RerankingSet, *, dimension: int | None) -> Iterator[np.ndarray]:
        """Yield for each query the scores of its candidates."""
        queries_ND = self.of(dataset.queries, role="query", dimension=dimension)
        documents_ND = self.of(dataset.documents, role="document", dimension=dimension)
        for query_D, one in zip(queries_ND, dataset.candidates, strict=True):
            yield np.asarray(self.model.similarity(query_D, documents_ND[list(one.rows)])[0])

    def order(self, scores: np.ndarray) -> np.ndarray:
        """Return positions by descending score, as the library's RerankingEvaluator orders ties."""
        return np.asarray(torch.argsort(-torch.from_numpy(scores)))


@dataclass(frozen=True)
class Encoder:
    """An embedding model, and how to feed it."""

    model: SentenceTransformer
    reader: InputReader
    shares: Shares

    def read(self, sets: Sequence[EvaluationSet]) -> Embeddings:
        """Return the embeddings of all that is in `sets`, the same on every rank."""
        cells: dict[tuple[EncodingRole, Modality], dict[str, int]] = {}
        for role, items in _needs(sets, pair_roles(self.model)):
            known = cells.setdefault((role, items.modality), {})
            for cell in items.cells:
                known.setdefault(cell, len(known))
        encoded = {key: Encoded(rows, self._encode(list(rows), *key)) for key, rows in cells.items()}
        return Embeddings(self.model, encoded)

    def _encode(self, cells: Sequence[str], role: EncodingRole, modality: Modality) -> torch.Tensor:
        encode = {
            "query": self.model.encode_query,
            "document": self.model.encode_document,
            "either": self.model.encode,
        }[role]

        def compute(indices: Sequence[int]) -> torch.Tensor:
            inputs = [self.reader.read(cells[index], modality) for index in indices]
            at_once = len(inputs)
            if modality == "text" and self.shares.ranks.device.type == "cpu":
                at_once = max(1, CHARACTERS_AT_ONCE_ON_CPU // max(1, *(len(cells[index]) for index in indices)))
            embeddings_BD: torch.Tensor = encode(
                inputs, batch_size=at_once, convert_to_tensor=True, show_progress_bar=False
            )
            return embeddings_BD

        order = longest_first([len(cell) if modality == "text" else 0 for cell in cells])
        return self.shares.compute(order, compute, what="queries" if role == "query" else "documents")


def pair_roles(model: SentenceTransformer) -> Roles:
    """Return how the two sides of pairs are embedded.

    A router has no way but those of the roles; without prompts all are the same, and what several sets hold is embedded
    once.
    """
    has_prompts = any(model.prompts.values())
    return ("either", "either") if has_prompts and not isinstance(model[0], Router) else QUERIES_AND_DOCUMENTS


def _needs(sets: Sequence[EvaluationSet], of_pairs: Roles) -> Iterator[tuple[EncodingRole, Items]]:
    for dataset in sets:
        role, other_role = of_pairs if isinstance(dataset, PairSet) else QUERIES_AND_DOCUMENTS
        yield role, dataset.queries
        if isinstance(dataset, TripletSet):
            yield other_role, dataset.positives
            yield other_role, dataset.negatives
        else:
            yield other_role, dataset.documents
