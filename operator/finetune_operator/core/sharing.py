"""Jobs that were given one folder of one volume claim: one of them has it, and the others wait."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """A job whose manifest names a folder of an existing claim."""

    name: str
    uid: str
    created_at: str
    """RFC 3339."""
    is_at_work: bool
    """It has begun and not ended, or pods of it are still alive."""
    is_waiting: bool
    """It has not begun yet, and is not suspended."""


def find_holder(job: Claimant, others: Iterable[Claimant]) -> Claimant | None:
    """Return the job that has the folder, or is to have it first; None if `job` may."""
    if job.is_at_work:
        return None
    ahead = [one for one in others if one.is_at_work or (one.is_waiting and _age(one) < _age(job))]
    return min(ahead, key=lambda one: (not one.is_at_work, _age(one)), default=None)


def _age(job: Claimant) -> tuple[str, str]:
    return (job.created_at, job.uid)
