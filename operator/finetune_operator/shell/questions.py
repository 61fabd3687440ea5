"""Which child of a job is asked about next, so that many that are stuck cost no more requests than one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from finetune_operator.core.observed import JobView, PodView

INTERVAL_SECONDS = 14.0


@dataclass
class _Asked:
    at: float
    children: dict[str, float] = field(default_factory=dict)


class Questions:
    """One question for a job every so often, about each of its children in turn; `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: dict[str, _Asked] = {}

    def next(self, uid: str, children: Sequence[JobView | PodView]) -> JobView | PodView | None:
        """Return the child that has waited longest, of those that want an answer; None if it is not time for one."""
        now, asked = self._clock(), self._asked.get(uid)
        if not children or (asked is not None and now - asked.at < INTERVAL_SECONDS):
            return None
        before = asked.children if asked is not None else {}
        chosen = min(children, key=lambda child: before.get(child.uid, float("-inf")))
        known = {child.uid: before[child.uid] for child in children if child.uid in before}
        self._asked[uid] = _Asked(now, known | {chosen.uid: now})
        return chosen

    def forget(self, uid: str) -> None:
        """Forget a job that has ended or is gone."""
        self._asked.pop(uid, None)
