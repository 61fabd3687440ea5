"""Queries, corpus and relevance of an evaluation set: equal contents are one entry, whatever ids they came with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Pair = tuple[str, str]


@dataclass
class Entries:
    """Ids and values; a value that comes again keeps its first id."""

    prefix: str
    by_value: dict[str, str] = field(default_factory=dict)
    by_id: dict[str, str] = field(default_factory=dict)
    """Id to the id that stands for the same value."""

    def add(self, value: str, *, key: str | None = None) -> str:
        """Return the id that stands for `value`."""
        wanted = f"{self.prefix}{len(self.by_value):07}" if key is None else key
        kept = self.by_value.setdefault(value, wanted)
        self.by_id.setdefault(wanted, kept)
        return kept

    def values(self, *, among: set[str] | None = None) -> Mapping[str, str]:
        """Return id to value in order of arrival, of all entries or of those `among`."""
        return {key: value for value, key in self.by_value.items() if among is None or key in among}


@dataclass
class Retrieval:
    """One evaluation set while it is put together."""

    queries: Entries = field(default_factory=lambda: Entries("q"))
    documents: Entries = field(default_factory=lambda: Entries("d"))
    relevant: dict[Pair, None] = field(default_factory=dict)
    """Pairs of query id and document id, in order of arrival."""

    def answered(self) -> Mapping[str, str]:
        """Return the queries that have a relevant document, id to text or path."""
        return self.queries.values(among={query for query, _ in self.relevant})

    def pairs(self) -> set[Pair]:
        """Return every held-out pair by content."""
        queries, documents = self.queries.values(), self.documents.values()
        return {(queries[query], documents[document]) for query, document in self.relevant}
