"""Queries that are documents themselves: prepare tells of them, and train ranks no query for itself."""

from collections.abc import Callable, Mapping

Pair = tuple[str, str]


def themselves(
    queries: Mapping[str, str], documents: Mapping[str, str], is_relevant: Callable[[Pair], bool]
) -> dict[str, str]:
    """Return the queries (id to content) that are documents (content to id) and not relevant ones: id to document's id.

    Whatever the model, such a document comes first. Contents decide and not ids, which often are mere numbers.
    """
    found = {query: documents[content] for query, content in queries.items() if content in documents}
    return {query: document for query, document in found.items() if not is_relevant((query, document))}
