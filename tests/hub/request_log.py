"""What was asked of the Hub, for tests to read back."""

from collections import deque

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Entry(BaseModel):
    """One request; `status` is None when no answer was made, `fault` names the fault that struck, if any."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    time: str
    method: str
    path: str
    query: str
    status: int | None
    seconds: float
    user: str | None
    user_agent: str | None
    fault: str | None


class RequestLog:
    """The newest requests, oldest first."""

    def __init__(self, *, capacity: int = 100_000) -> None:
        self._entries: deque[Entry] = deque(maxlen=capacity)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def entries(self) -> list[Entry]:
        return list(self._entries)

    def clear(self) -> None:
        self._entries.clear()
