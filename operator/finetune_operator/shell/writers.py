"""Whether somebody else writes the statuses that this operator writes: another operator, of another release perhaps.

The two would undo each other's decisions. A Lease is shared by the replicas of one release only, so what is noticed is
the deed: a status that changed, in a version of the object that is newer than what this process wrote last.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)
TEXT = "somebody else writes the status of a FinetuneJob; if another operator serves this namespace, remove one of them"


class Writers:
    """What this process has written last, and how often others have written since it started."""

    def __init__(self) -> None:
        self.num_foreign = 0
        self._own: dict[str, int] = {}
        self._under_way: set[str] = set()
        self._told: set[str] = set()

    @contextmanager
    def writing(self, uid: str) -> Iterator[None]:
        """Meanwhile the watch may show a write of ours before its answer is here."""
        self._under_way.add(uid)
        try:
            yield
        finally:
            self._under_way.discard(uid)

    def wrote(self, uid: str, version: int) -> None:
        """Note a write of ours by the version that it led to."""
        self._own[uid] = version

    def may_have_written(self, uid: str) -> None:
        """Note a write of ours of which nobody knows whether it was done, as when its answer was lost."""
        self._own[uid] = sys.maxsize

    def saw_change(self, uid: str, version: int, *, name: str) -> None:
        """Note that a watch showed another status than was known."""
        if uid in self._under_way or version <= self._own.get(uid, 0):
            return
        self.num_foreign += 1
        if uid not in self._told:
            self._told.add(uid)
            logger.warning(TEXT, extra={"job": name, "uid": uid})

    def forget(self, uid: str) -> None:
        """Forget a job that is gone."""
        self._own.pop(uid, None)
        self._told.discard(uid)
