"""Keeps the cache in step with the cluster: full lists, page by page, and what watches show in between.

A watch that breaks, for whatever reason and however often, is opened again where it was; one that cannot be, or that
shows nothing although something has happened, begins with a list.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from finetune_operator.core.decision import Manifest
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster
from finetune_operator.shell.freshness import PATIENCE_SECONDS, Freshness
from finetune_operator.shell.kinds import FINETUNE_JOB, WATCHED, Kind
from finetune_operator.shell.queue import KeyedQueue
from finetune_operator.shell.schema import SchemaCheck
from finetune_operator.shell.telemetry import Telemetry
from finetune_operator.shell.wire import FORBIDDEN, UNREACHABLE, ApiError
from finetune_operator.shell.writers import Writers

logger = logging.getLogger(__name__)
START_RETRY_SECONDS = 2.0
REOPEN_SECONDS = 0.1
LAST_REOPEN_SECONDS = 30.0
#: So many doublings are longer than that; a thousand are more than a number holds.
MAX_DOUBLINGS = 10
EXPIRED = 410
#: In place of a namespace's name: all of them, which one list and one watch show.
ALL = ""
FAILURES_TO_A_LIST = 5
#: No page of a list may take longer than this; a list as a whole takes as long as it takes.
PAGE_SECONDS = 300.0
MISSED_LISTS = 3
#: How often it is looked whether a watch lags behind.
WATCHDOG_SECONDS = 10.0


class RestoredError(Exception):
    """The cluster is an older one than was seen before: what is remembered of it never happened."""


@dataclass(kw_only=True)
class Informer:
    """Fills the cache and has each job that something happens to looked at. `clock` is monotonic."""

    cache: Cache
    queue: KeyedQueue
    freshness: Freshness
    telemetry: Telemetry
    namespaces: Sequence[str] = (ALL,)
    """Of the objects. Each has a list and a watch of each kind."""
    resync_seconds: float
    schema: SchemaCheck = field(default_factory=SchemaCheck)
    writers: Writers = field(default_factory=Writers)
    clock: Callable[[], float] = time.monotonic
    on_gone: Callable[[str], None] = lambda _: None
    """Told of each FinetuneJob that is gone, so that nothing of it is remembered."""
    heard_at: float | None = None
    """When the last page of a list came, or the first list was begun."""
    is_filled: bool = False
    """Whether the first full list of everything is in."""
    _versions: dict[str, int] = field(default_factory=dict)
    """What each watch has come to."""
    _watches: dict[str, asyncio.Timeout] = field(default_factory=dict)
    """Ends each watch when told to."""
    _reopened_at: dict[str, float] = field(default_factory=dict)

    def on_event(self, kind: Kind, change: str | None, manifest: Manifest) -> None:
        """Take over what a watch shows, and have the job that it concerns looked at if that is news."""
        metadata = manifest["metadata"]
        self.telemetry.watch_events.labels(kind.plural).inc()
        self.telemetry.watch_last_event.labels(kind.plural).set(time.time())
        watch = self.freshness.watch_of(kind.name, metadata["namespace"])
        self.freshness.saw(watch, int(metadata.get("resourceVersion") or 0))
        if kind == FINETUNE_JOB:
            self._note_writer(change, manifest)
        uid = self.cache.drop(kind, metadata["uid"]) if change == "DELETED" else self.cache.put(kind, manifest)
        if uid and self.cache.has_job(uid):
            self.queue.add(uid)
        elif uid:
            self.queue.forget(uid)
            self.on_gone(uid)

    def _note_writer(self, change: str | None, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        if change == "DELETED":
            self.writers.forget(metadata["uid"])
            return
        before = self.cache.job(metadata["uid"])
        if before is not None and before.get("status") != manifest.get("status"):
            self.writers.saw_change(metadata["uid"], int(metadata["resourceVersion"]), name=metadata["name"])

    async def begin(self, cluster: Cluster) -> None:
        """List everything for the first time, however often the API server has to be asked for it."""
        self.heard_at = self.clock()
        while not self.is_filled:
            try:
                await self.list_everything(cluster)
            except ApiError as error:
                logger.warning("the cluster cannot be listed yet", extra={"error": str(error)})
                await asyncio.sleep(START_RETRY_SECONDS)

    async def resync(self, cluster: Cluster) -> None:
        """List everything now and then, for ever: what a watch has lost is found."""
        while True:
            await asyncio.sleep(self.resync_seconds)
            try:
                await self.list_everything(cluster)
            except ApiError as error:
                logger.warning("the cluster cannot be listed", extra={"error": str(error)})

    async def guard(self) -> None:
        """Open anew what lags behind, now and then, for ever."""
        while True:
            await asyncio.sleep(WATCHDOG_SECONDS)
            self.reopen_what_lags()

    def reopen_what_lags(self) -> None:
        """End each watch that has not shown for long what is known to have happened; it begins with a list then."""
        now = self.clock()
        for name in self.freshness.lagging():
            # A server that is only slow gets time to answer before it is asked for yet another list.
            is_patient = now - self._reopened_at.get(name, -PATIENCE_SECONDS) < PATIENCE_SECONDS
            if not is_patient and (watch := self._watches.pop(name, None)):
                self._reopened_at[name] = now
                watch.reschedule(asyncio.get_running_loop().time())

    def illness(self) -> str:
        """Return why lists are believed to fail for good; empty if they are not."""
        limit = max(PAGE_SECONDS, MISSED_LISTS * self.resync_seconds) if self.is_filled else PAGE_SECONDS
        age = 0.0 if self.heard_at is None else self.clock() - self.heard_at
        what = "" if self.is_filled else "; the first list is not in"
        return f"no list has come for {age:.0f} s{what}" if age > limit else ""

    async def list_everything(self, cluster: Cluster) -> None:
        """Take over full lists of all kinds, and have every job looked at."""
        for kind in WATCHED:
            for watch, listed in (await self._list(cluster, kind)).items():
                if self.is_filled:
                    self.freshness.expect(watch, listed.newest)
                else:
                    self._begin_at(watch, listed.version)
        self.is_filled = True
        await self.schema.look(cluster)
        self._look_at_all()

    async def _list(self, cluster: Cluster, kind: Kind) -> dict[str, "_Listed"]:
        """Take over full lists of a kind; return them by watch.

        A namespace of several that may not be listed, as one that was deleted with its Role, is left as it was: the
        others' jobs go on. ApiError if none may be.
        """
        found: dict[str, _Listed] = {}
        refused: list[ApiError] = []
        for namespace in self.namespaces:
            watch = self.freshness.watch_of(kind.name, namespace)
            try:
                found[watch] = await self._list_one(cluster, kind, namespace)
            except ApiError as error:
                if error.status != FORBIDDEN or len(self.namespaces) == 1:
                    raise
                refused.append(error)
                self._versions.setdefault(watch, 0)
                extra = {"namespace": namespace, "error": str(error)}
                logger.warning("a namespace may not be listed", extra=extra)
        if not found:
            raise refused[0]
        if not refused:
            # By the oldest of the lists: what it cannot have shown may be in none of them.
            version = min(one.version for one in found.values())
            self.cache.keep_only(kind, set().union(*(one.uids for one in found.values())), version=version)
        return found

    async def _list_one(self, cluster: Cluster, kind: Kind, namespace: str) -> "_Listed":
        listed = _Listed()
        seen = self._versions.get(self.freshness.watch_of(kind.name, namespace), 0)
        async for page in cluster.pages(kind, namespace):
            listed.version = page.version
            _check_age(kind, page.version, seen)
            self.heard_at = self.clock()
            for manifest in page.items:
                listed.uids.add(str(manifest["metadata"]["uid"]))
                listed.newest = max(listed.newest, int(manifest["metadata"]["resourceVersion"]))
                self.cache.put(kind, manifest)
        return listed

    def _begin_at(self, watch: str, version: int) -> None:
        """Have a watch begin where a list ended: nothing that happens in between is lost."""
        self._versions[watch] = version
        self.freshness.saw(watch, version)

    def _look_at_all(self) -> None:
        for uid in self.cache.uids():
            self.queue.add(uid)

    async def follow(self, cluster: Cluster, kind: Kind, namespace: str = ALL) -> None:
        """Watch a kind for ever; a watch that breaks is opened again, and one that cannot be begins with a list."""
        watch = self.freshness.watch_of(kind.name, namespace)
        failures, was_away = 0, False
        while True:
            try:
                if was_away:
                    page = await anext(cluster.pages(kind, namespace))
                    # A watch from the future of a cluster that is older than it was would say nothing at all.
                    _check_age(kind, page.version, self._versions[watch])
                    was_away = False
                async with asyncio.timeout(None) as self._watches[watch]:
                    async for change, manifest in cluster.watch(kind, namespace, version=self._versions[watch]):
                        failures = 0
                        self._see(kind, watch, change, manifest)
            except (ApiError, TimeoutError) as error:
                failures += 1
                was_away = was_away or getattr(error, "status", None) == UNREACHABLE
                extra = {"resource": kind.plural, "namespace": namespace or "all", "error": str(error)}
                logger.warning("a watch is opened again", extra=extra)
                # Whatever speaks against the version that the watch is to begin at, a list has a good one.
                if failures % FAILURES_TO_A_LIST == 0 or getattr(error, "status", EXPIRED) == EXPIRED:
                    await self._catch_up(cluster, kind, watch)
            await asyncio.sleep(min(LAST_REOPEN_SECONDS, REOPEN_SECONDS * 2.0 ** min(failures, MAX_DOUBLINGS)))

    def _see(self, kind: Kind, watch: str, change: str, manifest: Manifest) -> None:
        version, seen = int(manifest["metadata"]["resourceVersion"]), self._versions[watch]
        if change == "BOOKMARK":
            _check_age(kind, version, seen)
            self.freshness.saw(watch, version)
        else:
            self.on_event(kind, change, manifest)
        self._versions[watch] = max(version, seen)

    async def _catch_up(self, cluster: Cluster, kind: Kind, watch: str) -> None:
        """List the kind anew, everywhere: what one list lacks is gone only if no other has it."""
        try:
            found = await self._list(cluster, kind)
        except ApiError as error:
            logger.warning("the cluster cannot be listed", extra={"error": str(error)})
            return
        if watch in found:
            self._begin_at(watch, found[watch].version)
        self._look_at_all()


@dataclass
class _Listed:
    """A full list that was taken over: its objects, its version, and that of its newest object."""

    uids: set[str] = field(default_factory=set)
    version: int = 0
    newest: int = 0


def _check_age(kind: Kind, version: int, seen: int) -> None:
    """Raise RestoredError for a present that is older than the past; it only grows, else."""
    if version < seen:
        text = f"version {version} of {kind.plural} after {seen}: the cluster was restored from a backup"
        raise RestoredError(f"{text}; this process begins anew")
