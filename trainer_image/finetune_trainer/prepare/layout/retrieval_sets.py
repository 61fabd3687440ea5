"""Puts an evaluation set of queries and documents together, from rows or from three tables."""

from collections.abc import Mapping
from dataclasses import dataclass

from finetune_api.evaluators import Evaluator
from finetune_trainer.prepare.layout.retrieval import Entries, Retrieval
from finetune_trainer.prepare.layout.tally import Tally
from finetune_trainer.prepare.layout.telling import notes_of_retrieval
from finetune_trainer.prepare.rows.labels import LabelValue
from finetune_trainer.prepare.rows.requests import DOCUMENT, DOCUMENTS, ID, LABEL, POSITIVE, QUERY, VALUE
from finetune_trainer.prepare.rows.rows import BadRow, Row, read_rows
from finetune_trainer.prepare.rows.tables import OpenTable
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.workspace.manifest import Modality


@dataclass(frozen=True)
class Gathered:
    """The set, and what was noticed on the way."""

    retrieval: Retrieval
    tallies: list[Tally]
    rows: int
    query_modality: Modality
    corpus_modality: Modality
    warnings: list[str]


def gather_rows(table: OpenTable, evaluator: Evaluator, place: Workplace) -> Gathered:
    """Return the set of rows of query and documents."""
    retrieval, tally = Retrieval(), Tally(table.where)
    for row in read_rows(table, place):
        judged = row if isinstance(row, BadRow) else _judged(row)
        if isinstance(judged, BadRow):
            tally.skip(judged)
        elif isinstance(row, Row):
            tally.use(row)
            retrieval.add(*judged)
    usable = retrieval.rankable() if evaluator is Evaluator.RERANKING else retrieval.answered()
    warnings = []
    if idle := len(retrieval.queries.by_value) - len(usable):
        warnings.append(f"{table.where}: {idle} queries lack relevant or other documents; they are left out")
    warnings += notes_of_retrieval(table.where, retrieval, ranks=evaluator is Evaluator.RERANKING)
    documents = table.modalities[DOCUMENTS if DOCUMENTS in table.modalities else POSITIVE]
    return Gathered(retrieval, [tally], tally.used, table.modalities[QUERY], documents, warnings)


def gather_tables(tables: Mapping[str, OpenTable], place: Workplace) -> Gathered:
    """Return the set of three tables: queries, corpus and relevant."""
    retrieval = Retrieval()
    tallies = [
        _gather_entries(tables["queries"], retrieval.queries, place),
        _gather_entries(tables["corpus"], retrieval.documents, place),
        relevant := Tally(tables["relevant"].where),
    ]
    unknown, example = 0, ""
    for row in read_rows(tables["relevant"], place):
        if isinstance(row, BadRow):
            relevant.skip(row)
            continue
        query = retrieval.queries.by_id.get(row.one(QUERY))
        document = retrieval.documents.by_id.get(row.one(DOCUMENT))
        if query is None or document is None:
            unknown += 1
            example = example or _unknown(row, retrieval)
            continue
        relevant.use(row)
        if row.label is None or _is_relevant(row.label):
            retrieval.relevant[query, document] = None
    if unknown:
        relevant.nothing = f"none of {unknown} relevant pairs names ids that queries and corpus have; {example}"
    modalities = tables["queries"].modalities[VALUE], tables["corpus"].modalities[VALUE]
    warnings = _notes(relevant.where, retrieval, unknown=unknown, example=example)
    warnings += notes_of_retrieval(relevant.where, retrieval, ranks=False)
    return Gathered(retrieval, tallies, len(retrieval.relevant), *modalities, warnings)


def _judged(row: Row) -> tuple[str, dict[str, bool]] | BadRow:
    """Return the query and whether each of the row's documents is relevant to it."""
    query = row.one(QUERY)
    if DOCUMENTS not in row.cells:
        positives = row.cells[POSITIVE]
        others = {value: False for part, cell in row.cells.items() if part not in (QUERY, POSITIVE) for value in cell}
        return (query, {**dict.fromkeys(positives, True), **{o: o in positives for o in others}})
    documents, labels = row.cells[DOCUMENTS], row.label if isinstance(row.label, list) else []
    if len(documents) != len(labels):
        return row.bad(f"{LABEL}: {len(labels)} numbers for {len(documents)} documents")
    relevant = {document for document, label in zip(documents, labels, strict=True) if _is_relevant(label)}
    return query, {document: document in relevant for document in documents}


def _is_relevant(label: LabelValue) -> bool:
    return isinstance(label, int | float) and label > 0


def _gather_entries(table: OpenTable, entries: Entries, place: Workplace) -> Tally:
    tally = Tally(table.where)
    for row in read_rows(table, place):
        if isinstance(row, BadRow):
            tally.skip(row)
        elif row.one(ID) in entries.by_id:
            tally.skip(BadRow(number=row.number, id=None, because=f"{ID}: occurs twice"))
        else:
            tally.use(row)
            entries.add(row.one(VALUE), key=row.one(ID))
    return tally


def _unknown(row: Row, retrieval: Retrieval) -> str:
    """Return an id of a relevant pair that is not there, and the one that may be meant."""
    for key, known, has in (
        (row.one(QUERY), retrieval.queries.by_id, "queries have"),
        (row.one(DOCUMENT), retrieval.documents.by_id, "the corpus has"),
    ):
        if key not in known:
            near = next((one for one in known if _bare(one) == _bare(key)), next(iter(known), "none"))
            return f"for example {key} where {has} {near}"
    raise AssertionError("a pair that is known was taken for an unknown one")


def _bare(key: str) -> str:
    """Return an id without what is often lost or added on the way: zeros, case, spaces, the end of a float."""
    return key.strip().lower().removesuffix(".0").lstrip("0")


def _notes(where: str, retrieval: Retrieval, *, unknown: int, example: str) -> list[str]:
    notes = []
    if unknown:
        lack = f"{unknown} relevant pairs name ids that queries or corpus do not have"
        notes.append(f"{where}: {lack}, {example}; they are left out")
    if idle := len(retrieval.queries.by_value) - len(retrieval.answered()):
        notes.append(f"{where}: {idle} queries have no relevant document; they are left out")
    return notes
