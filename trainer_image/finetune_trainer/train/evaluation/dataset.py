"""Prepared evaluation sets as they are scored. Texts and image paths only; no image is opened here."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from finetune_api.evaluators import Evaluator
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.themselves import themselves
from finetune_trainer.workspace.manifest import Modality, PreparedEvaluation


@dataclass(frozen=True)
class Items:
    """Texts or image paths with their ids, in one order."""

    ids: list[str]
    cells: list[str]
    modality: Modality


@dataclass(frozen=True)
class RetrievalSet:
    """Queries, documents, and the ids of the documents that answer each query. No query is ranked for itself."""

    name: str
    queries: Items
    documents: Items
    relevant: Mapping[str, set[str]]

    @cached_property
    def by_id(self) -> np.ndarray:
        """Return the numbers of the documents by ascending id: so the library orders those of equal scores."""
        return np.array(sorted(range(len(self.documents.ids)), key=self.documents.ids.__getitem__), dtype=np.int64)

    @cached_property
    def order_N(self) -> np.ndarray:  # noqa: N802 - its shape
        """Return where each of the N documents is in that order."""
        return np.argsort(self.by_id)

    @cached_property
    def themselves(self) -> dict[str, str]:
        """Return the queries that are documents, and not relevant to themselves: id to the document's id."""
        queries = dict(zip(self.queries.ids, self.queries.cells, strict=True))
        asked = set(self.queries.cells)
        pairs = zip(self.documents.cells, self.documents.ids, strict=True)
        documents = {cell: name for cell, name in pairs if cell in asked}
        return themselves(queries, documents, lambda pair: pair[1] in self.relevant[pair[0]])


@dataclass(frozen=True)
class Candidates:
    """The documents to be ranked for one query."""

    rows: Sequence[int]
    """Numbers of the documents, those that answer the query first: so the library hands them over, and ties show it."""
    num_relevant: int
    """How many answer the query."""
    given: np.ndarray
    """1 for a document that answers and 0 for one that does not, in the order in which they were given."""

    @property
    def relevant(self) -> np.ndarray:
        """Return 1 and 0 in the order of `rows`."""
        return (np.arange(len(self.rows)) < self.num_relevant).astype(np.int64)


@dataclass(frozen=True)
class RerankingSet:
    """Queries with a few candidates each."""

    name: str
    queries: Items
    documents: Items
    candidates: Sequence[Candidates]
    """Of each query."""
    ranked: bool
    """Whether the order of the candidates means something, for example that of a search engine."""


@dataclass(frozen=True)
class TripletSet:
    """Rows of a query, a document that answers it and one that does not."""

    name: str
    queries: Items
    positives: Items
    negatives: Items


@dataclass(frozen=True)
class PairSet:
    """Rows of two texts or images and a label: a similarity, or 0 and 1."""

    name: str
    queries: Items
    documents: Items
    labels: np.ndarray


EvaluationSet = RetrievalSet | RerankingSet | TripletSet | PairSet


def load_set(workspace: Workspace, prepared: PreparedEvaluation, *, ranked: bool) -> EvaluationSet:
    """Read the tables of one set; `ranked` says whether the order of candidates means something."""
    match prepared.evaluator:
        case Evaluator.INFORMATION_RETRIEVAL:
            return load_retrieval_set(workspace, prepared)
        case Evaluator.RERANKING:
            return _load_reranking_set(workspace, prepared, ranked=ranked)
        case Evaluator.TRIPLET:
            return _load_triplet_set(workspace, prepared)
        case Evaluator.EMBEDDING_SIMILARITY | Evaluator.BINARY_CLASSIFICATION:
            return _load_pair_set(workspace, prepared)


def load_retrieval_set(workspace: Workspace, prepared: PreparedEvaluation) -> RetrievalSet:
    """Read queries, corpus and relevant documents of an information retrieval set."""
    folder = workspace.evaluation_folder(prepared.name)
    return RetrievalSet(
        name=prepared.name,
        queries=_read_items(folder / "queries.parquet", modality=prepared.query_modality),
        documents=_read_items(folder / "corpus.parquet", modality=prepared.corpus_modality),
        relevant={query: set(documents) for query, documents in _read_pairs(folder / "relevant.parquet").items()},
    )


def _load_reranking_set(workspace: Workspace, prepared: PreparedEvaluation, *, ranked: bool) -> RerankingSet:
    """Read a reranking set; queries without a document that does not answer them are left out: any order is right."""
    folder = workspace.evaluation_folder(prepared.name)
    queries = _read_items(folder / "queries.parquet", modality=prepared.query_modality)
    documents = _read_items(folder / "corpus.parquet", modality=prepared.corpus_modality)
    relevant, given = _read_pairs(folder / "relevant.parquet"), _read_pairs(folder / "candidates.parquet")
    rows = {name: row for row, name in enumerate(documents.ids)}
    found = [_candidates(given.get(name, []), relevant.get(name, []), rows) for name in queries.ids]
    kept = [index for index, one in enumerate(found) if 0 < one.num_relevant < len(one.rows)]
    return RerankingSet(
        name=prepared.name,
        queries=Items(
            [queries.ids[index] for index in kept], [queries.cells[index] for index in kept], queries.modality
        ),
        documents=documents,
        candidates=[found[index] for index in kept],
        ranked=ranked,
    )


def _candidates(given: Sequence[str], answers: Sequence[str], rows: Mapping[str, int]) -> Candidates:
    """Return the candidates of one query; what answers it and was not given comes last."""
    known, right = set(given), set(answers)
    names = [*given, *(name for name in answers if name not in known)]
    ordered = [name for name in names if name in right] + [name for name in names if name not in right]
    return Candidates(
        rows=[rows[name] for name in ordered],
        num_relevant=sum(name in right for name in names),
        given=np.array([name in right for name in names], dtype=np.int64),
    )


def _load_triplet_set(workspace: Workspace, prepared: PreparedEvaluation) -> TripletSet:
    path = workspace.evaluation_folder(prepared.name) / "rows.parquet"
    return TripletSet(
        name=prepared.name,
        queries=_read_column(path, "query", modality=prepared.query_modality),
        positives=_read_column(path, "positive", modality=prepared.corpus_modality),
        negatives=_read_column(path, "negative", modality=prepared.corpus_modality),
    )


def _load_pair_set(workspace: Workspace, prepared: PreparedEvaluation) -> PairSet:
    path = workspace.evaluation_folder(prepared.name) / "rows.parquet"
    return PairSet(
        name=prepared.name,
        queries=_read_column(path, "query", modality=prepared.query_modality),
        documents=_read_column(path, "document", modality=prepared.corpus_modality),
        labels=pq.read_table(path, columns=["label"])["label"].to_numpy().astype(np.float64),
    )


def _read_items(path: Path, *, modality: Modality) -> Items:
    """Read a table of `id` and `value`."""
    table = pq.read_table(path, columns=["id", "value"]).to_pydict()
    return Items(ids=[str(one) for one in table["id"]], cells=table["value"], modality=modality)


def _read_column(path: Path, name: str, *, modality: Modality) -> Items:
    """Read one column of a table of rows, whose ids are their numbers."""
    cells = pq.read_table(path, columns=[name]).to_pydict()[name]
    return Items(ids=[str(row) for row in range(len(cells))], cells=cells, modality=modality)


def _read_pairs(path: Path) -> dict[str, list[str]]:
    """Read a table of `query_id` and `corpus_id`; documents by query, in order."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    table = pq.read_table(path, columns=["query_id", "corpus_id"]).to_pydict()
    for query, document in zip(table["query_id"], table["corpus_id"], strict=True):
        found[str(query)].append(str(document))
    return dict(found)
