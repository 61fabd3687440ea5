# ruff: noqa: N803, N806 - tensors carry their shape in their names
"""Embeds every distinct text and image of all sets once, each on one rank, where the embedding stays.

Shapes: N items, M of them on this rank, B of a chunk, D embedding dimensions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router
from sentence_transformers.util import batch_to_device

from finetune_trainer.recipe.batches.shared_memory import share
from finetune_trainer.recipe.capacity.evaluation import QUERIES_AT_ONCE
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.recipe.model.precision import exact_products
from finetune_trainer.recipe.model.prompts import DOCUMENT_PROMPT_NAMES, encoding_prompt
from finetune_trainer.train.evaluation.dataset import EvaluationSet, Items, PairSet, RerankingSet, TripletSet
from finetune_trainer.train.evaluation.held import Held
from finetune_trainer.train.evaluation.shares import Shares, longest_first
from finetune_trainer.workspace.manifest import Modality

EncodingRole = Literal["query", "document", "either"]
"""With "either" a text has no prompt but the model's default one, as in the library's evaluators of pairs."""
Roles = tuple[EncodingRole, EncodingRole]
"""Of the two sides of a set."""
QUERIES_AND_DOCUMENTS: Roles = ("query", "document")
PROMPT_NAMES: Mapping[EncodingRole, tuple[str, ...]] = {
    "query": ("query",),
    "document": DOCUMENT_PROMPT_NAMES,
    "either": (),
}
#: Bytes of a token of English, and tokens of a model that states no limit: what is cut off costs nothing.
BYTES_OF_A_TOKEN, MANY_TOKENS = 4, 8192


@dataclass(frozen=True)
class Encoded:
    """The embeddings of distinct cells in one role and modality."""

    rows: Mapping[str, int]
    held: Held

    def rows_of(self, items: Items) -> np.ndarray:
        """Return the row of each item."""
        return np.fromiter((self.rows[cell] for cell in items.cells), np.int64, len(items.cells))


@dataclass(frozen=True)
class Embeddings:
    """What an embedding model makes of the sets: similarities of their embeddings, whole or cut to a dimension.

    Cosine needs no renormalisation after the cut, as it divides by lengths. Embeddings of queries travel to all ranks,
    a chunk at a time; those of documents stay where they are. All ranks call these methods together.
    """

    model: SentenceTransformer
    encoded: Mapping[tuple[EncodingRole, Modality], Encoded]
    shares: Shares

    def of(self, items: Items, *, role: EncodingRole) -> tuple[Held, np.ndarray]:
        """Return where the embeddings of `items` lie."""
        found = self.encoded[role, items.modality]
        return found.held, found.rows_of(items)

    def similarity(self, queries_QD: torch.Tensor, documents_ND: torch.Tensor) -> torch.Tensor:
        """Return the similarity of each query to each document."""
        with exact_products():
            scores_QN: torch.Tensor = self.model.similarity(queries_QD, documents_ND)
        return scores_QN

    def similarities(
        self, queries: Items, documents: Items, *, dimension: int | None, roles: Roles = QUERIES_AND_DOCUMENTS
    ) -> np.ndarray:
        """Return the similarity of each query to the document in the same place."""
        (of_queries, query_N), (of_documents, document_N) = (
            self.of(items, role=role) for items, role in zip((queries, documents), roles, strict=True)
        )
        scores_N = torch.zeros(len(query_N))
        for chunk in self.chunks(len(query_N)):
            queries_BD = of_queries.fetch(query_N[chunk], width=dimension)
            here = of_documents.here(document_N[chunk])
            documents_BD = of_documents.take(document_N[chunk][here], width=dimension)
            scores_N[chunk.start + here] = self.model.similarity_pairwise(queries_BD[here], documents_BD).cpu()
        return self.shares.ranks.add(scores_N).numpy()

    def score_pairs(self, dataset: PairSet, *, dimension: int | None) -> np.ndarray:
        """Return the score of each row."""
        roles = pair_roles(self.model)
        return self.similarities(dataset.queries, dataset.documents, dimension=dimension, roles=roles)

    def score_candidates(self, dataset: RerankingSet, *, dimension: int | None) -> Iterator[np.ndarray]:
        """Yield for each query the scores of its candidates."""
        (of_queries, query_N), (of_documents, document_N) = (
            self.of(dataset.queries, role="query"),
            self.of(dataset.documents, role="document"),
        )
        for chunk in self.chunks(len(query_N)):
            queries_BD = of_queries.fetch(query_N[chunk], width=dimension)
            scores = []
            for query_D, one in zip(queries_BD, dataset.candidates[chunk], strict=True):
                rows = document_N[list(one.rows)]
                here, scored = of_documents.here(rows), torch.zeros(len(rows))
                if len(here):
                    candidates_ND = of_documents.take(rows[here], width=dimension)
                    scored[here] = self.similarity(query_D, candidates_ND)[0].cpu()
                scores.append(scored)
            summed = self.shares.ranks.add(torch.cat(scores))
            yield from (one.numpy() for one in torch.split(summed, [len(one) for one in scores]))

    def order(self, scores: np.ndarray) -> np.ndarray:
        """Return positions by descending score, as the library's RerankingEvaluator orders ties."""
        return np.asarray(torch.argsort(-torch.from_numpy(scores)))

    def chunks(self, total: int) -> Iterator[slice]:
        """Yield rows that are scored together; what comes after a chunk shows that this goes on."""
        for start in range(0, total, QUERIES_AT_ONCE):
            yield slice(start, min(start + QUERIES_AT_ONCE, total))
            self.shares.on_batch()


@dataclass(frozen=True)
class Encoder:
    """An embedding model, and how to feed it."""

    model: SentenceTransformer
    reader: InputReader
    shares: Shares

    def read(self, sets: Sequence[EvaluationSet]) -> Embeddings:
        """Return the embeddings of all that is in `sets`."""
        cells: dict[tuple[EncodingRole, Modality], dict[str, int]] = {}
        for role, items in _needs(sets, pair_roles(self.model)):
            known = cells.setdefault((role, items.modality), {})
            for cell in items.cells:
                known.setdefault(cell, len(known))
        encoded = {key: Encoded(rows, self._encode(list(rows), *key)) for key, rows in cells.items()}
        return Embeddings(self.model, encoded, self.shares)

    @torch.inference_mode()
    def _encode(self, cells: Sequence[str], role: EncodingRole, modality: Modality) -> Held:
        """Embed as the library's encode, encode_query and encode_document do, but for what they do between batches."""
        task: dict[str, Any] = {} if role == "either" else {"task": role}
        prompt = encoding_prompt(self.model, PROMPT_NAMES[role])
        ranks = self.shares.ranks

        def prepare(rows: Sequence[int]) -> dict[str, Any]:
            inputs = [self.reader.read(cells[row], modality) for row in rows]
            features: dict[str, Any] = self.model.preprocess(inputs, prompt=prompt, **task)
            share(features)
            return features

        def compute(features: dict[str, Any]) -> torch.Tensor:
            found = self.model(batch_to_device(features, ranks.device), **task)
            embeddings_BD: torch.Tensor = found["sentence_embedding"]
            return embeddings_BD[:, : self.model.truncate_dim]

        if modality == "text":
            lengths = lengths_of(cells, self.model)
            rounds = self.shares.texts_in_rounds(longest_first(lengths), lengths)
        else:
            rounds = self.shares.in_rounds(range(len(cells)))
        self.model.eval()
        what = "queries" if role == "query" else "documents"
        return Held.of(rounds, self.shares.compute(rounds, prepare, compute, what=what), ranks)


def lengths_of(texts: Sequence[str], model: SentenceTransformer) -> list[int]:
    """Return the bytes of texts, as far as the model reads them: the closest to tokens that costs nothing to count."""
    limits = [getattr(module, "max_seq_length", None) for module in model.modules()]
    most = BYTES_OF_A_TOKEN * max((one for one in limits if isinstance(one, int)), default=MANY_TOKENS)
    return [min(len(text.encode()), most) for text in texts]


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
