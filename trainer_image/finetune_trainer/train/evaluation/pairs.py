"""Scores every distinct pair of query and document of all sets once, each on one rank."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from sentence_transformers import CrossEncoder
from sentence_transformers.util import batch_to_device

from finetune_trainer.recipe.batches.shared_memory import share
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.recipe.model.pair_images import images_once, remember
from finetune_trainer.recipe.model.precision import float32_scores
from finetune_trainer.recipe.model.prompts import encoding_prompt
from finetune_trainer.train.evaluation.dataset import EvaluationSet, Items, PairSet, RerankingSet
from finetune_trainer.train.evaluation.held import Held
from finetune_trainer.train.evaluation.shares import Rounds, Shares, in_stretches, longest_first
from finetune_trainer.workspace.manifest import Modality

#: Cell and modality of the query, then of the document.
Pair = tuple[str, Modality, str, Modality]


@dataclass(frozen=True)
class PairScores:
    """What a reranker makes of the sets."""

    rows: Mapping[Pair, int]
    scores: np.ndarray

    def score_pairs(self, dataset: PairSet, *, dimension: int | None = None) -> np.ndarray:
        """Return the score of each row; a reranker has no `dimension`."""
        assert dimension is None, "only embeddings can be cut"
        return self.scores[[self.rows[pair] for pair in _pairs_of(dataset)]]

    def score_candidates(self, dataset: RerankingSet, *, dimension: int | None = None) -> Iterator[np.ndarray]:
        """Yield for each query the scores of its candidates."""
        assert dimension is None, "only embeddings can be cut"
        pairs = iter(_pairs_of(dataset))
        for one in dataset.candidates:
            yield self.scores[[self.rows[next(pairs)] for _ in one.rows]]

    def order(self, scores: np.ndarray) -> np.ndarray:
        """Return positions by descending score, as the library's CrossEncoderRerankingEvaluator orders ties."""
        return np.argsort(scores)[::-1]


@dataclass(frozen=True)
class PairScorer:
    """A reranker with one output, and how to feed it."""

    model: CrossEncoder
    reader: InputReader
    shares: Shares

    @torch.inference_mode()
    def read(self, sets: Sequence[EvaluationSet]) -> PairScores:
        """Return the scores of all pairs that are in `sets`, the same on every rank."""
        pairs = list(dict.fromkeys(pair for dataset in sets for pair in _pairs_of(dataset)))
        rounds = _in_rounds(pairs, self.shares)
        self.model.eval()
        with float32_scores(self.model):
            scores = self.shares.compute(
                rounds, lambda rows: self._prepare([pairs[row] for row in rows]), self._score, what="pairs"
            )
        # A number for each pair is little, and a set may need any of them.
        held = Held.of(rounds, scores, self.shares.ranks)
        scores_N = held.fetch(np.arange(len(pairs)))[:, 0].cpu().numpy()  # noqa: N806 - one for each of N pairs
        return PairScores({pair: row for row, pair in enumerate(pairs)}, scores_N)

    def _prepare(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        """Return what the model takes for these pairs, of which each image is prepared once."""
        distinct = dict.fromkeys(half for pair in pairs for half in _halves(pair))
        read = {half: self.reader.read(*half) for half in distinct}
        for half in read.values():
            if isinstance(half, Image):
                remember(half)
        inputs = [tuple(read[half] for half in _halves(pair)) for pair in pairs]
        with images_once(self.model):
            features: dict[str, Any] = self.model.preprocess(inputs, prompt=encoding_prompt(self.model))
        share(features)
        return features

    def _score(self, features: dict[str, Any]) -> torch.Tensor:
        """Score as the library's predict does."""
        scores = self.model(batch_to_device(features, self.shares.ranks.device))["scores"].float()
        scored: torch.Tensor = self.model.activation_fn(scores)
        return scored.reshape(-1, 1)


def _pairs_of(dataset: EvaluationSet) -> Iterator[Pair]:
    if isinstance(dataset, PairSet):
        for query, document in zip(dataset.queries.cells, dataset.documents.cells, strict=True):
            yield _pair(dataset.queries, query, dataset.documents, document)
    elif isinstance(dataset, RerankingSet):
        for query, one in zip(dataset.queries.cells, dataset.candidates, strict=True):
            for row in one.rows:
                yield _pair(dataset.queries, query, dataset.documents, dataset.documents.cells[row])
    else:
        raise TypeError(f"{type(dataset).__name__} is for embedding models")


def _pair(queries: Items, query: str, documents: Items, document: str) -> Pair:
    return query, queries.modality, document, documents.modality


def _halves(pair: Pair) -> tuple[tuple[str, Modality], tuple[str, Modality]]:
    query, modality, document, document_modality = pair
    return (query, modality), (document, document_modality)


def _in_rounds(pairs: Sequence[Pair], shares: Shares) -> Rounds:
    """Return rounds whose batches have much in common: the length of their texts, or a page."""
    pages = [_page(pair) for pair in pairs]
    lengths = [sum(len(cell.encode()) for cell, _ in _halves(pair)) for pair in pairs]
    texts = [row for row in longest_first(lengths) if pages[row] is None]
    of_pages = [row for row, page in enumerate(pages) if page is not None]
    of_pages.sort(key=lambda row: pages[row] or "")
    of_pages = in_stretches(of_pages, world_size=shares.ranks.world_size)
    return [*shares.texts_in_rounds(texts, lengths), *shares.in_rounds(of_pages)]


def _page(pair: Pair) -> str | None:
    """Return the image of a pair that other pairs may have, too: the document, or else the query; None without one."""
    query, document = _halves(pair)
    return next((cell for cell, modality in (document, query) if modality == "image"), None)
