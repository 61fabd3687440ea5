"""Whether the watches still tell us what happens: what is known to have been written must come over a watch.

A watch can go silent without an error. So the version of each object that a write or a list has shown is expected on
the watch of its kind. Versions of one kind only grow there, so anything newer shows as well that the watch is alive.
Where each namespace has watches of its own, one that is alive says nothing of another.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

#: A watch that is behind by so much is opened anew.
PATIENCE_SECONDS = 90.0
#: One that stays behind although it was opened anew again and again is the process's own doing. Much longer than an API
#: server is slow: a new process would only ask it for more.
LAST_PATIENCE_SECONDS = 900.0


@dataclass
class Freshness:
    """Expectations by watch; `clock` is monotonic."""

    clock: Callable[[], float]
    is_by_namespace: bool = False
    """Whether each namespace has watches of its own; else one shows a kind of all namespaces."""
    _seen: dict[str, int] = field(default_factory=dict)
    _expected: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def watch_of(self, kind: str, namespace: str) -> str:
        """Return the name of the watch that shows objects of a kind in a namespace."""
        return f"{kind} in {namespace}" if self.is_by_namespace else kind

    def expect(self, watch: str, version: int) -> None:
        """Note that a watch should show this version or a newer one, unless it has done so already."""
        if version > self._seen.get(watch, 0):
            self._expected.setdefault(watch, []).append((version, self.clock()))

    def saw(self, watch: str, version: int) -> None:
        """Note that a watch showed this version."""
        newest = max(version, self._seen.get(watch, 0))
        self._seen[watch] = newest
        self._expected[watch] = [entry for entry in self._expected.get(watch, ()) if entry[0] > newest]

    def overdue_seconds(self) -> float:
        """Return for how long the oldest expectation has been waiting."""
        waiting = [since for entries in self._expected.values() for _, since in entries]
        return max((self.clock() - since for since in waiting), default=0.0)

    def lagging(self) -> list[str]:
        """Return the watches that should be opened anew."""
        limit = self.clock() - PATIENCE_SECONDS
        return [watch for watch, entries in self._expected.items() if any(since <= limit for _, since in entries)]

    @property
    def is_alive(self) -> bool:
        """Tell whether the watches are believed to come back."""
        return self.overdue_seconds() < LAST_PATIENCE_SECONDS
