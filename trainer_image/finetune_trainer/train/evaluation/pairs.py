"""Scores every distinct pair of query and document of all sets once, each on one rank."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL.Image import Image
from sentence_transformers import CrossEncoder

from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.recipe.model.pair_images import images_once, remember
from finetune_trainer.recipe.model.precision import float32_scores
from finetune_trainer.train.evaluation.dataset import EvaluationSet, Items, PairSet, RerankingSet
from finetune_trainer.train.evaluation.shares import Shares, in_stretches
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

    def read(self, sets: Sequence[EvaluationSet]) -> PairScores:
        """Return the scores of all pairs that are in `sets`, the same on every rank."""
        pairs = list(dict.fromkeys(pair for dataset in sets for pair in _pairs_of(dataset)))
        with float32_scores(self.model):
            scores = self.shares.compute(
                _in_order(pairs, world_size=self.shares.ranks.world_size),
                lambda indices: self._predict([pairs[index] for index in indices]),
                what="pairs",
            )
        return PairScores({pair: row for row, pair in enumerate(pairs)}, scores[:, 0].numpy())

    def _predict(self, pairs: Sequence[Pair]) -> torch.Tensor:
        distinct = dict.fromkeys(half for pair in pairs for half in _halves(pair))
        read = {half: self.reader.read(*half) for half in distinct}
        for half in read.values():
            if isinstance(half, Image):
                remember(half)
        inputs = [tuple(read[half] for half in _halves(pair)) for pair in pairs]
        with images_once(self.model):
            scores: torch.Tensor = self.model.predict(
                inputs, batch_size=len(inputs), convert_to_tensor=True, show_progress_bar=False
            )
        return scores[:, None]


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


def _in_order(pairs: Sequence[Pair], *, world_size: int) -> list[int]:
    """Return pair numbers so that those in one batch have much in common: the length of their texts, or a page."""
    pages = [_page(pair) for pair in pairs]
    texts = [number for number, page in enumerate(pages) if page is None]
    texts.sort(key=lambda number: -sum(len(cell) for cell, _ in _halves(pairs[number])))
    of_pages = [number for number, page in enumerate(pages) if page is not None]
    of_pages.sort(key=lambda number: pages[number] or "")
    return [*texts, *in_stretches(of_pages, world_size=world_size)]


def _page(pair: Pair) -> str | None:
    """Return the image of a pair that other pairs may have, too: the document, or else the query; None without one."""
    query, document = _halves(pair)
    return next((cell for cell, modality in (document, query) if modality == "image"), None)
