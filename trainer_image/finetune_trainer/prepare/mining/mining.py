# ruff: noqa: N803, N806 - arrays carry their shape in their names
"""Hard negatives: documents that a model finds close to a query without being its answer. Imports torch.

The library's `mine_hard_negatives` with the same meaning of every setting, on texts and image paths; its own takes
decoded images apart. Shapes: Q queries, N documents, B queries of one block, K candidates, D embedding dimensions.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from finetune_api.datasets import MinedNegatives
from finetune_trainer.prepare.layout.examples import Example
from finetune_trainer.prepare.mining.embedding_cache import EmbeddingCache
from finetune_trainer.workspace.manifest import Column

_SCORES_AT_ONCE = 16_000_000
_NONE = -float("inf")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Miner:
    """Finds negatives for the examples of one training set."""

    settings: MinedNegatives
    embeddings: EmbeddingCache
    similarity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Compares (B, D) with (N, D) as the model does."""
    seed: int

    def __call__(self, examples: Sequence[Example], columns: Sequence[Column]) -> list[Example]:
        """Return the examples for which enough negatives were found, with these; columns are query and positive."""
        if not examples:
            return []
        queries = list(dict.fromkeys(str(example.query) for example in examples))
        documents = list(dict.fromkeys(example.documents[0] for example in examples))
        query_column, document_column = columns[0], columns[1]
        queries_QD = torch.from_numpy(self.embeddings.embed(queries, query_column.modality, "query"))
        documents_ND = torch.from_numpy(self.embeddings.embed(documents, document_column.modality, "document"))
        _log.info("mining negatives", extra={"queries": len(queries), "documents": len(documents)})
        answers = _answers(examples, queries, documents)
        # A query that is a document itself is closest to itself, and no negative.
        places = {document: number for number, document in enumerate(documents)}
        never = [[*own, places.get(query, own[0])] for own, query in zip(answers, queries, strict=True)]
        per_query = self._find(queries_QD, documents_ND, answers, never, most_answers=_most(examples))
        found = dict(zip(queries, per_query, strict=True))
        return [
            replace(example, negatives=[documents[index] for index in negatives])
            for example in examples
            if (negatives := found[str(example.query)]) is not None
        ]

    def _find(
        self,
        queries_QD: torch.Tensor,
        documents_ND: torch.Tensor,
        answers: Sequence[list[int]],
        never: Sequence[list[int]],
        *,
        most_answers: int,
    ) -> Iterator[list[int] | None]:
        """Yield for each query the documents that are its negatives, closest first; None where too few are left.

        `never` are the documents that are none, its answers among them.
        """
        range_max = self._range_max(most_answers)
        width = min(range_max + most_answers + 1, len(documents_ND))
        rows = max(1, _SCORES_AT_ONCE // len(documents_ND))
        rng = random.Random(self.seed)  # noqa: S311 - which negatives are taken is no secret
        count = self.embeddings.begin(of=len(queries_QD))
        for start in range(0, len(queries_QD), rows):
            count(start)
            scores_BN = self.similarity(queries_QD[start : start + rows], documents_ND)
            scores_BK, candidates_BK = torch.topk(scores_BN, k=width, dim=1)
            for row in range(len(scores_BN)):
                least = float(scores_BN[row, answers[start + row]].min())
                barred_K = torch.isin(candidates_BK[row], torch.tensor(never[start + row]))
                usable_K = self._usable(scores_BK[row], least) & ~barred_K
                ranked = candidates_BK[row][usable_K][self.settings.range_min : range_max].tolist()
                yield self._take(ranked, rng)

    def _usable(self, scores_K: torch.Tensor, least_answer: float) -> torch.Tensor:
        """Say which candidates are neither too close nor too far; margins count from the farthest answer."""
        wanted = self.settings
        usable_K = scores_K > _NONE
        if wanted.absolute_margin is not None:
            usable_K &= scores_K + wanted.absolute_margin <= least_answer
        if wanted.relative_margin is not None:
            usable_K &= scores_K <= least_answer - abs(least_answer) * wanted.relative_margin
        if wanted.max_score is not None:
            usable_K &= scores_K <= wanted.max_score
        if wanted.min_score is not None:
            usable_K &= scores_K >= wanted.min_score
        return usable_K

    def _take(self, ranked: list[int], rng: random.Random) -> list[int] | None:
        count = self.settings.num_negatives
        if len(ranked) < count:
            return None
        if self.settings.sampling_strategy == "top":
            return ranked[:count]
        return [ranked[index] for index in sorted(rng.sample(range(len(ranked)), k=count))]

    def _range_max(self, most_answers: int) -> int:
        """Return how many of the closest documents are looked at; more where some of them may fall away."""
        wanted = self.settings
        if wanted.range_max is not None:
            return wanted.range_max
        limits = (wanted.absolute_margin, wanted.relative_margin, wanted.max_score)
        factor = 1 if all(limit is None for limit in limits) else 10
        return wanted.range_min + wanted.num_negatives * factor + most_answers


def _answers(examples: Sequence[Example], queries: Sequence[str], documents: Sequence[str]) -> list[list[int]]:
    """Return the documents that answer each query, by their numbers; equal contents are one."""
    query_number = {query: number for number, query in enumerate(queries)}
    document_number = {document: number for number, document in enumerate(documents)}
    answers: list[dict[int, None]] = [{} for _ in queries]
    for example in examples:
        answers[query_number[str(example.query)]][document_number[example.documents[0]]] = None
    return [list(own) for own in answers]


def _most(examples: Sequence[Example]) -> int:
    """Return the number of rows of the query that has most."""
    return Counter(example.query for example in examples).most_common(1)[0][1]
