"""Evaluation sets of every kind on a prepared workspace, as prepare would leave them."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finetune_api.evaluators import Evaluator
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.manifest import Modality, PreparedEvaluation


def read_held_out(workspace: Workspace) -> tuple[list[str], list[str]]:
    """Return queries and documents of the retrieval set `held-out`; the document of each query has its number."""
    folder = workspace.evaluation_folder("held-out")
    queries, documents = (pq.read_table(folder / f"{name}.parquet")["value"] for name in ("queries", "corpus"))
    return queries.to_pylist(), documents.to_pylist()


def add_reranking_set(
    workspace: Workspace, name: str, *, queries: list[str], documents: list[str], modality: Modality
) -> PreparedEvaluation:
    """Write a set of the same content in which each query has its own document and five others as candidates."""
    rng = random.Random(0)
    ids = [str(number) for number in range(len(queries))]
    candidates = {query: [*rng.sample([one for one in ids if one != query], 5), query] for query in ids}
    for given in candidates.values():
        rng.shuffle(given)
    folder = workspace.evaluation_folder(name)
    _write(folder / "queries.parquet", {"id": ids, "value": queries})
    _write(folder / "corpus.parquet", {"id": ids, "value": documents})
    _write(folder / "relevant.parquet", {"query_id": ids, "corpus_id": ids})
    pairs = [(query, document) for query, given in candidates.items() for document in given]
    _write(
        folder / "candidates.parquet",
        {"query_id": [query for query, _ in pairs], "corpus_id": [document for _, document in pairs]},
    )
    return _prepared(name, Evaluator.RERANKING, modality, rows=len(queries))


def add_triplet_set(
    workspace: Workspace, name: str, *, queries: list[str], documents: list[str], modality: Modality
) -> PreparedEvaluation:
    """Write a set of the same content; the document of the next query is the wrong one."""
    columns = {"query": queries, "positive": documents, "negative": [*documents[1:], documents[0]]}
    _write(workspace.evaluation_folder(name) / "rows.parquet", columns)
    return _prepared(name, Evaluator.TRIPLET, modality, rows=len(queries))


def add_pair_set(  # noqa: PLR0913 - each is a part of its own
    workspace: Workspace,
    name: str,
    evaluator: Evaluator,
    *,
    queries: list[str],
    documents: list[str],
    modality: Modality,
) -> PreparedEvaluation:
    """Write a set of the same content: every other row has the wrong document, and label 0."""
    labels = [float(number % 2 == 0) for number in range(len(queries))]
    paired = [document if label else documents[0] for document, label in zip(documents, labels, strict=True)]
    columns: dict[str, Any] = {"query": queries, "document": paired, "label": labels}
    _write(workspace.evaluation_folder(name) / "rows.parquet", columns)
    return _prepared(name, evaluator, modality, rows=len(queries))


def _prepared(name: str, evaluator: Evaluator, modality: Modality, *, rows: int) -> PreparedEvaluation:
    return PreparedEvaluation(
        name=name, evaluator=evaluator, query_modality="text", corpus_modality=modality, queries=rows, documents=rows
    )


def _write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
