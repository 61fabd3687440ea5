"""Problems as lines for people: field, value, why, what to do."""

import json
from dataclasses import dataclass

from finetune_api.problem import Problem

_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Told:
    """A sentence about the field at `path`."""

    path: str
    text: str
    is_rule: bool = False
    """Whether a rule across values says so; the value at `path` has the right form."""


def tell(problem: Problem) -> Told:
    """Return `path: value is wrong because ...; fix`, and of a field that is not there that it is missing."""
    if problem.value is None:
        because = f": {problem.because}" if problem.because else ""
        return Told(problem.path, f"{problem.path} is missing{because}; {problem.fix}")
    text = f"{problem.path}: {shown(problem.value)} is wrong because {problem.because}"
    return Told(problem.path, f"{text}; {problem.fix}" if problem.fix else text)


def shown(value: object) -> str:
    """Return a value as it stands in a manifest, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
