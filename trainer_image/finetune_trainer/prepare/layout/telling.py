"""Whether a score on an evaluation set can tell one model from another. Where it cannot: why, and what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

from finetune_api.evaluators import Evaluator
from finetune_trainer.prepare.layout.retrieval import Retrieval
from finetune_trainer.prepare.rows.requests import DOCUMENT, LABEL, QUERY

_ALIKE = "every model would get the same score because"
_MORE = "add documents that are not, or hold out more rows"
#: What pairs of labels have to be like.
_PAIRS = {
    Evaluator.EMBEDDING_SIMILARITY: "give pairs with different labels",
    Evaluator.BINARY_CLASSIFICATION: "give pairs of both kinds, 0 and 1",
}


def silence_of_rows(rows: Sequence[Mapping[str, Any]], evaluator: Evaluator) -> str | None:
    """Return why triplets or labeled pairs tell nothing, None if they do; there is at least one row."""
    if evaluator is Evaluator.TRIPLET:
        if num_idle_triplets(rows) < len(rows):
            return None
        return f"{_ALIKE} no row has three different texts or images; give others as negatives"
    fix = _PAIRS[evaluator]
    labels = {row[LABEL] for row in rows}
    if len(labels) == 1:
        return f"{_ALIKE} its {len(rows)} rows have one label, {next(iter(labels))}; {fix}"
    if len({(row[QUERY], row[DOCUMENT]) for row in rows}) == 1:
        return f"{_ALIKE} its {len(rows)} rows hold one pair; {fix}"
    return None


def num_idle_triplets(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many triplets hold a text or image twice, so that the answer is right or wrong for every model."""
    return sum(len({*row.values()}) < len(row) for row in rows)


def silence_of_retrieval(retrieval: Retrieval, *, ranks: bool) -> str | None:
    """Return why queries and documents tell nothing, None if they do; `ranks` says that candidates are ordered."""
    answered = retrieval.answered()
    if ranks:
        return None if retrieval.rankable() else "no query has both a relevant document and another"
    if not answered:
        return "no query has a relevant document"
    if len(retrieval.complete()) < len(answered):
        return None
    counts = f"{len(retrieval.documents.by_value)} documents, {len(answered)} queries"
    return f"{_ALIKE} all documents are relevant to all queries ({counts}); {_MORE}"


def notes_of_retrieval(where: str, retrieval: Retrieval, *, ranks: bool) -> list[str]:
    """Return what deserves a look: queries that are documents, and those for which every ranking is right.

    `where` names the set, `ranks` says that each query has candidates of its own.
    """
    answered, themselves = len(retrieval.answered()), retrieval.themselves()
    left_out = sum(pair in retrieval.candidates for pair in themselves.items()) if ranks else len(themselves)
    complete, namesakes = 0 if ranks else len(retrieval.complete()), retrieval.namesakes()
    notes = {
        f"{left_out} of {answered} queries are documents of the corpus and not relevant to themselves; each is left "
        "out of its own ranking": left_out,
        f"all documents are relevant to {complete} of {answered} queries, which score the same whatever the model": (
            complete if complete < answered else 0
        ),
        f"{len(namesakes)} of {answered} queries have the id of a document that is not relevant to them, for example "
        f"{next(iter(namesakes), '')}; where that is the query in other words, take it out of the corpus": namesakes,
    }
    return [f"{where}: {note}" for note, counts in notes.items() if counts]
