"""Faults on demand: which requests go wrong, how, and how often."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Match(_Frozen):
    """Requests by method and by a regular expression searched in `path?query`; what is left out matches all."""

    method: str | None = None
    path: str = ""

    def matches(self, method: str, target: str) -> bool:
        return (self.method is None or self.method.upper() == method) and re.search(self.path, target) is not None


class Refuse(_Frozen):
    """Answer with this status instead of doing anything."""

    status: int = Field(ge=400, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    error_code: str | None = Field(default=None, alias="errorCode")
    message: str = "Fault on demand"


class Delay(_Frozen):
    """Wait, then do what was asked."""

    delay: float = Field(ge=0)


class CutAfter(_Frozen):
    """Cut the connection once this many bytes of a download were sent."""

    cut_after_bytes: int = Field(ge=0, alias="cutAfterBytes")


class Claim(_Frozen):
    """Answer 200 with this JSON instead of doing anything, as if all were well."""

    claim: Any


class Amend(_Frozen):
    """Do what was asked, then answer with these fields in place of one's own; None leaves a field out."""

    amend: dict[str, Any]


Action = Literal["cut", "lose-answer"] | Refuse | Delay | CutAfter | Claim | Amend


class Fault(_Frozen):
    """`skip` matching requests go through, then `times` of them go wrong (None: all that follow)."""

    match: Match = Match()
    skip: int = Field(default=0, ge=0)
    times: int | None = Field(default=1, ge=1)
    action: Action

    @property
    def name(self) -> str:
        if isinstance(self.action, str):
            return self.action
        return self.action.model_dump_json(by_alias=True, exclude_defaults=True)


class Faults:
    """The faults still to come, in the order in which they were asked for; the first that matches a request is used."""

    def __init__(self) -> None:
        self._pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._pending.append(fault)

    def clear(self) -> None:
        self._pending.clear()

    def pending(self) -> list[Fault]:
        return list(self._pending)

    def take(self, method: str, target: str) -> Fault | None:
        """Return the fault for this request, if any, and count it as used."""
        for position, fault in enumerate(self._pending):
            if fault.match.matches(method, target):
                self._replace(position, fault)
                return fault if fault.skip == 0 else None
        return None

    def _replace(self, position: int, fault: Fault) -> None:
        if fault.skip > 0:
            self._pending[position] = fault.model_copy(update={"skip": fault.skip - 1})
        elif fault.times == 1:
            del self._pending[position]
        elif fault.times is not None:
            self._pending[position] = fault.model_copy(update={"times": fault.times - 1})
