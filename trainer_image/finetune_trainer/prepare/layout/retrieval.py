"""Queries, corpus and relevance of an evaluation set: equal contents are one entry, whatever ids they came with."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from finetune_trainer.recipe.themselves import Pair, themselves


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
    candidates: dict[Pair, None] = field(default_factory=dict)
    """Pairs of query id and id of a document to rank, in order of arrival; of rows the relevant ones are among them."""

    def add(self, query: str, documents: Mapping[str, bool]) -> None:
        """Add a row: a query, and whether each document is relevant to it. What was relevant once stays so."""
        query_id = self.queries.add(query)
        for document, is_relevant in documents.items():
            pair = query_id, self.documents.add(document)
            self.candidates[pair] = None
            if is_relevant:
                self.relevant[pair] = None

    def answered(self) -> Mapping[str, str]:
        """Return the queries that have a relevant document, id to text or path."""
        return self.queries.values(among={query for query, _ in self.relevant})

    def themselves(self) -> Mapping[str, str]:
        """Return the answered queries that are documents themselves, and not relevant ones: id to the document's id."""
        return themselves(self.answered(), self.documents.by_value, self.relevant.__contains__)

    def namesakes(self) -> list[str]:
        """Return the ids that a query and a document share that are neither equal nor relevant; numbers say nothing."""
        answered, themselves, documents = self.answered(), self.themselves(), self.documents.by_id
        pairs = {
            key: (query, documents[key])
            for key, query in self.queries.by_id.items()
            if query in answered and key in documents and not key.isdecimal()
        }
        return [key for key, pair in pairs.items() if pair not in self.relevant and themselves.get(pair[0]) != pair[1]]

    def complete(self) -> list[str]:
        """Return the answered queries to which all documents are relevant, but for the query itself."""
        counts = Counter(query for query, _ in self.relevant)
        others = len(self.documents.by_value)
        themselves = self.themselves()
        return [query for query in self.answered() if counts[query] == others - (query in themselves)]

    def ranked(self) -> list[Pair]:
        """Return the candidates but for the queries themselves."""
        themselves = self.themselves()
        return [pair for pair in self.candidates if themselves.get(pair[0]) != pair[1]]

    def rankable(self) -> Mapping[str, str]:
        """Return the answered queries that have another candidate too: without one, every order is as good."""
        others = {query for query, document in self.ranked() if (query, document) not in self.relevant}
        return {query: value for query, value in self.answered().items() if query in others}

    def pairs(self) -> set[Pair]:
        """Return every held-out pair by content."""
        queries, documents = self.queries.values(), self.documents.values()
        return {(queries[query], documents[document]) for query, document in self.relevant}
