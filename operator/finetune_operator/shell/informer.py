"""Keeps the cache in step with the cluster: full lists, page by page, and what watches show in between."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, repeat

from finetune_operator.core.decision import Manifest
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import ApiError, Cluster
from finetune_operator.shell.freshness import Freshness
from finetune_operator.shell.kinds import WATCHED, Kind
from finetune_operator.shell.queue import KeyedQueue
from finetune_operator.shell.telemetry import Telemetry

logger = logging.getLogger(__name__)
START_RETRY_SECONDS = 2.0
FIRST_RESYNC_SECONDS = 30.0
REOPEN_SECONDS = 0.1
LAST_REOPEN_SECONDS = 30.0
#: So many doublings are longer than that; a thousand are more than a number holds.
MAX_DOUBLINGS = 10
EXPIRED = 410
#: A list may take this long before something is wrong; later ones also so many times the pause between them.
LIST_SECONDS = 300.0
MISSED_LISTS = 3


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
    clock: Callable[[], float] = time.monotonic
    began_at: float | None = None
    listed_at: float | None = None
    """When the last full list of everything was in; None before the first."""
    _versions: dict[str, int] = field(default_factory=dict)
    """What the watch of each kind has come to."""

    def on_event(self, kind: Kind, change: str | None, manifest: Manifest) -> None:
        """Take over what a watch shows, and have the job that it concerns looked at."""
        metadata = manifest["metadata"]
        self.telemetry.watch_events.labels(kind.plural).inc()
        self.telemetry.watch_last_event.labels(kind.plural).set(time.time())
        self.freshness.saw(kind.name, int(metadata.get("resourceVersion") or 0))
        uid = self.cache.drop(kind, metadata["uid"]) if change == "DELETED" else self.cache.put(kind, manifest)
        if uid and self.cache.has_job(uid):
            self.queue.add(uid)
        elif uid:
            self.queue.forget(uid)

    async def begin(self, cluster: Cluster) -> None:
        """List everything for the first time, however often the API server has to be asked for it."""
        self.began_at = self.clock()
        while self.listed_at is None:
            try:
                await self.list_everything(cluster)
            except ApiError as error:
                logger.warning("the cluster cannot be listed yet", extra={"error": str(error)})
                await asyncio.sleep(START_RETRY_SECONDS)

    async def resync(self, cluster: Cluster) -> None:
        """List everything now and then, for ever: what a watch has lost is found.

        The first time soon: kopf's watch has begun after our first list, and what was deleted in between nobody tells.
        """
        for seconds in chain([min(FIRST_RESYNC_SECONDS, self.resync_seconds)], repeat(self.resync_seconds)):
            await asyncio.sleep(seconds)
            try:
                await self.list_everything(cluster)
            except ApiError as error:
                logger.warning("the cluster cannot be listed", extra={"error": str(error)})

    def illness(self) -> str:
        """Return why lists are believed to fail for good; empty if they are not."""
        since = self.began_at if self.listed_at is None else self.listed_at
        limit = LIST_SECONDS if self.listed_at is None else max(LIST_SECONDS, MISSED_LISTS * self.resync_seconds)
        age = 0.0 if since is None else self.clock() - since
        return f"the cluster has not been listed for {age:.0f} s" if age > limit else ""

    async def list_everything(self, cluster: Cluster) -> None:
        """Take over full lists of all kinds, and have every job looked at."""
        for kind in WATCHED:
            version, newest = await self._list(cluster, kind)
            if self.listed_at is None:
                self._begin_at(kind, version)
            else:
                self.freshness.expect(kind.name, newest)
        self.listed_at = self.clock()
        self._look_at_all()

    async def _list(self, cluster: Cluster, kind: Kind) -> tuple[int, int]:
        """Take over a full list; return its version and that of its newest object."""
        listed: set[str] = set()
        newest = version = 0
        async for page in cluster.pages(kind, self.namespace):
            version = page.version
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
        """Watch a kind for ever; a watch that breaks is opened again, and one that is too old begins with a list."""
        failures = 0
        while True:
            try:
                async for change, manifest in cluster.watch(kind, self.namespace, version=self._versions[kind.name]):
                    failures = 0
                    self._see(kind, change, manifest)
            except ApiError as error:
                failures += 1
                logger.warning("a watch is opened again", extra={"resource": kind.plural, "error": str(error)})
                if error.status == EXPIRED:
                    await self._catch_up(cluster, kind)
            await asyncio.sleep(min(LAST_REOPEN_SECONDS, REOPEN_SECONDS * 2.0 ** min(failures, MAX_DOUBLINGS)))

    def _see(self, kind: Kind, change: str, manifest: Manifest) -> None:
        version = int(manifest["metadata"]["resourceVersion"])
        if change == "BOOKMARK":
            self.freshness.saw(kind.name, version)
        else:
            self.on_event(kind, change, manifest)
        self._versions[kind.name] = version

    async def _catch_up(self, cluster: Cluster, kind: Kind) -> None:
        try:
            version, _ = await self._list(cluster, kind)
        except ApiError as error:
            logger.warning("the cluster cannot be listed", extra={"error": str(error)})
        else:
            self._begin_at(kind, version)
            self._look_at_all()
