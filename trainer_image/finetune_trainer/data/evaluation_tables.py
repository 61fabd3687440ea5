"""Writes `inputs/data/NAME/`: queries and corpus (id, value) and relevant (query_id, corpus_id), as parquet."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from finetune_api.reasons import Reason
from finetune_trainer.data.manifest import Modality, PreparedEvaluation
from finetune_trainer.data.problems import InputProblem
from finetune_trainer.data.requests import DOCUMENT, ID, POSITIVE, QUERY, VALUE
from finetune_trainer.data.retrieval import Entries, Pair, Retrieval
from finetune_trainer.data.rows import BadRow, read_rows
from finetune_trainer.data.tables import OpenTable
from finetune_trainer.data.tally import Tally
from finetune_trainer.data.workplace import Workplace

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


def check_modalities(tables: Tables) -> list[InputProblem]:
    """Return what is wrong if documents are partly text, partly images; one corpus has one modality."""
    if "rows" not in tables:
        return []
    rows = tables["rows"]
    found = {part: modality for part, modality in rows.modalities.items() if part != QUERY}
    if len(set(found.values())) == 1:
        return []
    told = ", ".join(f"{rows.request.columns[part]} ({modality})" for part, modality in found.items())
    message = f"{rows.request.field}.columns: documents must be all text or all images, but they are {told}"
    return [InputProblem(Reason.INVALID_ARGUMENT, message)]


def write_evaluation(tables: Tables, folder: Path, *, place: Workplace) -> WrittenEvaluation:
    """Write one evaluation set from its table of rows, or from its three tables."""
    if "rows" in tables:
        name, (query, document) = tables["rows"].request.dataset, _row_modalities(tables["rows"])
        retrieval, tallies, warnings = _gather_rows(tables["rows"], place)
        rows = tallies[0].used
    else:
        name = tables["queries"].request.dataset
        query, document = tables["queries"].modalities[VALUE], tables["corpus"].modalities[VALUE]
        retrieval, tallies, warnings = _gather_tables(tables, place)
        rows = len(retrieval.relevant)
    _write(retrieval, folder)
    prepared = PreparedEvaluation(
        name=name,
        query_modality=query,
        corpus_modality=document,
        queries=len(retrieval.answered()),
        documents=len(retrieval.documents.by_value),
    )
    return WrittenEvaluation(prepared=prepared, tallies=tallies, rows=rows, pairs=retrieval.pairs(), warnings=warnings)


def _row_modalities(table: OpenTable) -> tuple[Modality, Modality]:
    return table.modalities[QUERY], table.modalities[POSITIVE]


def _gather_rows(table: OpenTable, place: Workplace) -> tuple[Retrieval, list[Tally], list[str]]:
    retrieval = Retrieval()
    tally = _tally(table)
    for row in read_rows(table, place):
        if isinstance(row, BadRow):
            tally.skip(row)
            continue
        tally.used += 1
        query = retrieval.queries.add(row.values[QUERY])
        documents = {part: retrieval.documents.add(row.values[part]) for part in table.modalities if part != QUERY}
        retrieval.relevant[query, documents[POSITIVE]] = None
    return retrieval, [tally], []


def _gather_tables(tables: Tables, place: Workplace) -> tuple[Retrieval, list[Tally], list[str]]:
    retrieval = Retrieval()
    tallies = [
        _gather_entries(tables["queries"], retrieval.queries, place),
        _gather_entries(tables["corpus"], retrieval.documents, place),
        tally := _tally(tables["relevant"]),
    ]
    unknown = 0
    for row in read_rows(tables["relevant"], place):
        if isinstance(row, BadRow):
            tally.skip(row)
            continue
        query = retrieval.queries.by_id.get(row.values[QUERY])
        document = retrieval.documents.by_id.get(row.values[DOCUMENT])
        if query is None or document is None:
            unknown += 1
            continue
        tally.used += 1
        retrieval.relevant[query, document] = None
    return retrieval, tallies, _notes(tables["relevant"], retrieval, unknown=unknown)


def _gather_entries(table: OpenTable, entries: Entries, place: Workplace) -> Tally:
    tally = _tally(table)
    for row in read_rows(table, place):
        if isinstance(row, BadRow):
            tally.skip(row)
        elif row.values[ID] in entries.by_id:
            tally.skip(BadRow(number=row.number, id=None, because=f"{ID}: occurs twice"))
        else:
            tally.used += 1
            entries.add(row.values[VALUE], key=row.values[ID])
    return tally


def _notes(table: OpenTable, retrieval: Retrieval, *, unknown: int) -> list[str]:
    name = f"{table.request.field}: dataset {table.request.dataset}"
    notes = []
    if unknown:
        notes.append(f"{name}: {unknown} relevant pairs name ids that queries or corpus do not have; they are left out")
    idle = len(retrieval.queries.by_value) - len(retrieval.answered())
    if idle:
        notes.append(f"{name}: {idle} queries have no relevant document; they are left out")
    return notes


def _tally(table: OpenTable) -> Tally:
    return Tally(f"{table.request.field}: dataset {table.request.dataset}")


def _write(retrieval: Retrieval, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_entries(retrieval.answered(), folder / "queries.parquet")
    _write_entries(retrieval.documents.values(), folder / "corpus.parquet")
    pairs = list(retrieval.relevant)
    _write_table(
        {"query_id": [pair[0] for pair in pairs], "corpus_id": [pair[1] for pair in pairs]}, folder / "relevant.parquet"
    )


def _write_entries(entries: Mapping[str, str], path: Path) -> None:
    _write_table({"id": list(entries), "value": list(entries.values())}, path)


def _write_table(columns: dict[str, list[str]], path: Path) -> None:
    partial = path.with_suffix(".partial")
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    parquet.write_table(table, partial)
    partial.rename(path)
