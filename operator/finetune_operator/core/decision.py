"""What a decision is: what to write, to make, to remove and to say, and when to look again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from finetune_api.status import FinetuneJobStatus
from finetune_api.types import FinetuneJob
from finetune_operator.core.observed import ClaimState, Observed
from finetune_operator.core.platform import Platform

Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that a decision may depend on."""

    job: FinetuneJob
    observed: Observed
    now: datetime
    platform: Platform


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """One object to remove, with all that belongs to it."""

    kind: str
    name: str
    uid: str = ""
    """Remove only the object of this uid; empty: what has the name and the job's label, by a live look."""
    is_forced: bool = False
    """Do not wait for the kubelet: its node is silent."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One transition, for `kubectl describe`."""

    kind: str
    """Normal or Warning."""
    reason: str
    action: str
    note: str


@dataclass(frozen=True, kw_only=True)
class ClaimChange:
    """A change of the claim made for the job."""

    state: ClaimState
    """What comes of it."""
    patch: Manifest
    """A strategic merge patch."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do now, in this order: write the status, post events, change, delete, rehearse, apply, try the optional.

    The status comes first because it carries the intent (number of the attempt, budgets): whoever is killed after
    writing it finds it again and goes on; whoever is killed before has done nothing. Events come next, because what
    follows may fail and they are told by the change of the status alone.
    """

    status: FinetuneJobStatus
    change: ClaimChange | None = None
    """What the claim made for the job should be like, if it is there."""
    delete: tuple[Deletion, ...] = ()
    rehearse: tuple[Manifest, ...] = ()
    """Children of later, shown to the API server now so that it can refuse them before anything is spent on them."""
    apply: tuple[Manifest, ...] = ()
    optional: tuple[Manifest, ...] = ()
    """Children that nothing waits for: one that cannot be made just now changes nothing else."""
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    """Seconds until something is due that no event announces."""
