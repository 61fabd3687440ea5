"""Writes `inputs/data/evaluation/NAME/` as the set's evaluator takes it; `workspace/manifest.py` says which tables."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from finetune_api.evaluators import Evaluator
from finetune_api.reasons import Reason
from finetune_trainer.prepare.layout.plain_sets import SCHEMAS, PlainSet, read_plain_set
from finetune_trainer.prepare.layout.retrieval_sets import Gathered, gather_rows, gather_tables
from finetune_trainer.prepare.layout.tally import Tally
from finetune_trainer.prepare.layout.telling import num_idle_triplets, silence_of_retrieval, silence_of_rows
from finetune_trainer.prepare.rows.requests import DOCUMENT, POSITIVE, QUERY
from finetune_trainer.prepare.rows.tables import OpenTable
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.recipe.themselves import Pair
from finetune_trainer.workspace.manifest import PreparedEvaluation
from finetune_trainer.workspace.problems import InputProblem

Tables = Mapping[str, OpenTable]


@dataclass(frozen=True)
class WrittenEvaluation:
    """The set and what was noticed while it was written."""

    prepared: PreparedEvaluation
    tallies: list[Tally]
    rows: int
    pairs: set[Pair]
    """Held-out pairs of query and document, by content."""
    warnings: list[str]
    silence: str | None
    """Why scores tell nothing of a model, None if they do."""

    def problem(self) -> InputProblem | None:
        """Return what is wrong if rows were read but nothing can be measured on them."""
        if self.silence is None or not all(tally.used for tally in self.tallies):
            return None
        return InputProblem(Reason.EMPTY_DATASET, f"{self.tallies[-1].where}: {self.silence}")


def write_evaluation(tables: Tables, evaluator: Evaluator, folder: Path, *, place: Workplace) -> WrittenEvaluation:
    """Write one evaluation set from its table of rows, or from its three tables; nothing else stays in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if "rows" not in tables:
        return _write_retrieval(gather_tables(tables, place), evaluator, tables["queries"].request.dataset, folder)
    rows = tables["rows"]
    if evaluator in SCHEMAS:
        return _write_plain(rows, evaluator, folder, place)
    return _write_retrieval(gather_rows(rows, evaluator, place), evaluator, rows.request.dataset, folder)


def _write_plain(table: OpenTable, evaluator: Evaluator, folder: Path, place: Workplace) -> WrittenEvaluation:
    found = read_plain_set(table, evaluator, place)
    _write(pa.Table.from_pylist(found.rows, schema=SCHEMAS[evaluator]), folder / "rows.parquet")
    prepared = PreparedEvaluation(
        name=table.request.dataset,
        evaluator=evaluator,
        query_modality=table.modalities[QUERY],
        corpus_modality=table.modalities[DOCUMENT if DOCUMENT in table.modalities else POSITIVE],
        queries=len(found.rows),
        documents=len(found.rows),
    )
    silence = silence_of_rows(found.rows, evaluator) if found.rows else None
    return WrittenEvaluation(prepared, [found.tally], found.tally.used, found.pairs, _idle(found, evaluator), silence)


def _idle(found: PlainSet, evaluator: Evaluator) -> list[str]:
    count = num_idle_triplets(found.rows) if evaluator is Evaluator.TRIPLET else 0
    because = f"{count} of {len(found.rows)} triplets hold a text or image twice, and tell nothing of a model"
    return [f"{found.tally.where}: {because}"] if count else []


def _write_retrieval(found: Gathered, evaluator: Evaluator, name: str, folder: Path) -> WrittenEvaluation:
    retrieval, ranks = found.retrieval, evaluator is Evaluator.RERANKING
    queries = retrieval.rankable() if ranks else retrieval.answered()
    documents = retrieval.documents.values()
    relevant = [pair for pair in retrieval.relevant if pair[0] in queries]
    if ranks:
        candidates = [pair for pair in retrieval.ranked() if pair[0] in queries]
        documents = retrieval.documents.values(among={document for _, document in candidates})
        _write_pairs(candidates, folder / "candidates.parquet")
    _write_entries(queries, folder / "queries.parquet")
    _write_entries(documents, folder / "corpus.parquet")
    _write_pairs(relevant, folder / "relevant.parquet")
    prepared = PreparedEvaluation(
        name=name,
        evaluator=evaluator,
        query_modality=found.query_modality,
        corpus_modality=found.corpus_modality,
        queries=len(queries),
        documents=len(documents),
    )
    silence = silence_of_retrieval(retrieval, ranks=ranks)
    return WrittenEvaluation(prepared, found.tallies, found.rows, retrieval.pairs(), found.warnings, silence)


def _write_entries(entries: Mapping[str, str], path: Path) -> None:
    _write_texts({"id": entries.keys(), "value": entries.values()}, path)


def _write_pairs(pairs: Collection[Pair], path: Path) -> None:
    _write_texts({"query_id": [pair[0] for pair in pairs], "corpus_id": [pair[1] for pair in pairs]}, path)


def _write_texts(columns: Mapping[str, Collection[str]], path: Path) -> None:
    _write(pa.table({name: pa.array(list(values), pa.string()) for name, values in columns.items()}), path)


def _write(table: pa.Table, path: Path) -> None:
    partial = path.with_suffix(".partial")
    parquet.write_table(table, partial)
    partial.rename(path)
