"""Keeps the cache in step with the cluster: full lists, page by page, and what watches show in between.

A watch that breaks, for whatever reason and however often, is opened again where it was; one that cannot be, or that
shows nothing although something has happened, begins with a list.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from finetune_operator.core.decision import Manifest
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster
from finetune_operator.shell.freshness import PATIENCE_SECONDS, Freshness
from finetune_operator.shell.kinds import FINETUNE_JOB, WATCHED, Kind
from finetune_operator.shell.queue import KeyedQueue
from finetune_operator.shell.schema import SchemaCheck
from finetune_operator.shell.telemetry import Telemetry
from finetune_operator.shell.wire import UNREACHABLE, ApiError
from finetune_operator.shell.writers import Writers

logger = logging.getLogger(__name__)
START_RETRY_SECONDS = 2.0
REOPEN_SECONDS = 0.1
LAST_REOPEN_SECONDS = 30.0
#: So many doublings are longer than that; a thousand are more than a number holds.
MAX_DOUBLINGS = 10
EXPIRED = 410
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
    namespace: str = ""
    """Of the objects; empty for those of all namespaces."""
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
    """What the watch of each kind has come to."""
    _watches: dict[str, asyncio.Timeout] = field(default_factory=dict)
    """Ends the watch of each kind when told to."""
    _reopened_at: dict[str, float] = field(default_factory=dict)

    def on_event(self, kind: Kind, change: str | None, manifest: Manifest) -> None:
        """Take over what a watch shows, and have the job that it concerns looked at if that is news."""
        metadata = manifest["metadata"]
        self.telemetry.watch_events.labels(kind.plural).inc()
        self.telemetry.watch_last_event.labels(kind.plural).set(time.time())
        self.freshness.saw(kind.name, int(metadata.get("resourceVersion") or 0))
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
        for kind in self.freshness.lagging():
            # A server that is only slow gets time to answer before it is asked for yet another list.
            is_patient = now - self._reopened_at.get(kind, -PATIENCE_SECONDS) < PATIENCE_SECONDS
            if not is_patient and (watch := self._watches.pop(kind, None)):
                self._reopened_at[kind] = now
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
            version, newest = await self._list(cluster, kind)
            if self.is_filled:
                self.freshness.expect(kind.name, newest)
            else:
                self._begin_at(kind, version)
        self.is_filled = True
        await self.schema.look(cluster)
        self._look_at_all()

    async def _list(self, cluster: Cluster, kind: Kind) -> tuple[int, int]:
        """Take over a full list; return its version and that of its newest object."""
        listed: set[str] = set()
        newest = version = 0
        seen = self._versions.get(kind.name, 0)
        async for page in cluster.pages(kind, self.namespace):
            version = page.version
            _check_age(kind, version, seen)
            self.heard_at = self.clock()
            for manifest in page.items:
                listed.add(str(manifest["metadata"]["uid"]))
                newest = max(newest, int(manifest["metadata"]["resourceVersion"]))
                self.cache.put(kind, manifest)
        self.cache.keep_only(kind, listed, version=version)
        return version, newest

    def _begin_at(self, kind: Kind, version: int) -> None:
        """Have the watch of a kind begin where a list ended: nothing that happens in between is lost."""
        self._versions[kind.name] = version
        self.freshness.saw(kind.name, version)

    def _look_at_all(self) -> None:
        for uid in self.cache.uids():
            self.queue.add(uid)

    async def follow(self, cluster: Cluster, kind: Kind) -> None:
        """Watch a kind for ever; a watch that breaks is opened again, and one that cannot be begins with a list."""
        failures, was_away = 0, False
        while True:
            try:
                if was_away:
                    await self._look_at_age(cluster, kind)
                    was_away = False
                async with asyncio.timeout(None) as self._watches[kind.name]:
                    async for change, manifest in cluster.watch(
                        kind, self.namespace, version=self._versions[kind.name]
                    ):
                        failures = 0
                        self._see(kind, change, manifest)
            except (ApiError, TimeoutError) as error:
                failures += 1
                was_away = was_away or getattr(error, "status", None) == UNREACHABLE
                logger.warning("a watch is opened again", extra={"resource": kind.plural, "error": str(error)})
                # Whatever speaks against the version that the watch is to begin at, a list has a good one.
                if failures % FAILURES_TO_A_LIST == 0 or getattr(error, "status", EXPIRED) == EXPIRED:
                    await self._catch_up(cluster, kind)
            await asyncio.sleep(min(LAST_REOPEN_SECONDS, REOPEN_SECONDS * 2.0 ** min(failures, MAX_DOUBLINGS)))

    def _see(self, kind: Kind, change: str, manifest: Manifest) -> None:
        version, seen = int(manifest["metadata"]["resourceVersion"]), self._versions[kind.name]
        if change == "BOOKMARK":
            _check_age(kind, version, seen)
            self.freshness.saw(kind.name, version)
        else:
            self.on_event(kind, change, manifest)
        self._versions[kind.name] = max(version, seen)

    async def _look_at_age(self, cluster: Cluster, kind: Kind) -> None:
        """Raise RestoredError if the cluster is older than it was: a watch from its future would say nothing at all."""
        page = await anext(cluster.pages(kind, self.namespace))
        _check_age(kind, page.version, self._versions[kind.name])

    async def _catch_up(self, cluster: Cluster, kind: Kind) -> None:
        try:
            version, _ = await self._list(cluster, kind)
        except ApiError as error:
            logger.warning("the cluster cannot be listed", extra={"error": str(error)})
        else:
            self._begin_at(kind, version)
            self._look_at_all()


def _check_age(kind: Kind, version: int, seen: int) -> None:
    """Raise RestoredError for a present that is older than the past; it only grows, else."""
    if version < seen:
        text = f"version {version} of {kind.plural} after {seen}: the cluster was restored from a backup"
        raise RestoredError(f"{text}; this process begins anew")
