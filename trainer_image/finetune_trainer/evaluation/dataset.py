"""One prepared evaluation set: queries, documents, and which document answers which query."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from finetune_api.workspace import Workspace
from finetune_trainer.data.manifest import Modality, PreparedEvaluation


@dataclass(frozen=True)
class Items:
    """Texts or image paths with their ids, in one order."""

    ids: list[str]
    cells: list[str]
    modality: Modality


@dataclass(frozen=True)
class RetrievalSet:
    """Queries, documents, and the ids of the documents that answer each query."""

    name: str
    queries: Items
    documents: Items
    relevant: Mapping[str, set[str]]


def load_retrieval_set(workspace: Workspace, prepared: PreparedEvaluation) -> RetrievalSet:
    """Read the three tables of one set; images stay paths."""
    folder = workspace.evaluation_folder(prepared.name)
    relevant: defaultdict[str, set[str]] = defaultdict(set)
    pairs = pq.read_table(folder / "relevant.parquet", columns=["query_id", "corpus_id"]).to_pydict()
    for query, document in zip(pairs["query_id"], pairs["corpus_id"], strict=True):
        relevant[str(query)].add(str(document))
    return RetrievalSet(
        name=prepared.name,
        queries=read_items(folder / "queries.parquet", modality=prepared.query_modality),
        documents=read_items(folder / "corpus.parquet", modality=prepared.corpus_modality),
        relevant=dict(relevant),
    )


def read_items(path: Path, *, modality: Modality) -> Items:
    """Read a table of `id` and `value`."""
    table = pq.read_table(path, columns=["id", "value"]).to_pydict()
    return Items(ids=[str(one) for one in table["id"]], cells=table["value"], modality=modality)
