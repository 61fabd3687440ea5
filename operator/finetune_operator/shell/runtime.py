"""Everything that runs in the process besides kopf, put together, started and stopped."""

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

import finetune_api
from finetune_operator.core.decision import Manifest
from finetune_operator.core.platform import Platform
from finetune_operator.settings import Settings
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.clock import SteadyClock
from finetune_operator.shell.cluster import Cluster, NameTakenError
from finetune_operator.shell.freshness import Freshness
from finetune_operator.shell.health import build_app, serve
from finetune_operator.shell.informer import ALL, Informer
from finetune_operator.shell.inquiry import Inquiry
from finetune_operator.shell.job_metrics import JobCollector
from finetune_operator.shell.kinds import FINETUNE_JOB, POD_GROUP, WATCHED
from finetune_operator.shell.known import Known
from finetune_operator.shell.leader import Leadership
from finetune_operator.shell.maker import Maker
from finetune_operator.shell.pace import Pace
from finetune_operator.shell.progress import ProgressPoller
from finetune_operator.shell.queue import KeyedQueue
from finetune_operator.shell.reconciler import Reconciler
from finetune_operator.shell.rights import Rights
from finetune_operator.shell.telemetry import Telemetry
from finetune_operator.shell.wire import CONFLICT, ApiError, Call, Wire, connect

logger = logging.getLogger(__name__)
#: Much longer than an API server that is busy may have a worker wait.
STUCK_WORKER_SECONDS = 1800


class Runtime:
    """One operator process. `stop_flag` is set when it cannot go on."""

    def __init__(self, settings: Settings, *, stop_flag: asyncio.Event) -> None:
        self.settings = settings
        self._stop_flag = stop_flag
        self.failure = ""
        self.clock = SteadyClock()
        self.cache = Cache(now=self.clock.now)
        self.freshness = Freshness(clock=time.monotonic, is_by_namespace=bool(settings.watch_namespaces))
        self.rights = Rights()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self.telemetry = Telemetry(registry, version=finetune_api.__version__)
        self._loop = loop = asyncio.get_running_loop()
        registry.register(JobCollector(self.cache.jobs, skip=self._skip_in_scrape))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.queue = KeyedQueue(
            call_later=loop.call_later, jitter=random.random, clock=time.monotonic, is_first=self.cache.is_new
        )
        self.informer = Informer(
            cache=self.cache,
            queue=self.queue,
            freshness=self.freshness,
            telemetry=self.telemetry,
            namespaces=settings.watch_namespaces or (ALL,),
            resync_seconds=settings.resync_seconds,
        )
        self._cluster: Cluster | None = None
        self._server: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_waiting_for_lease = False

    async def start(self) -> None:
        """Answer probes, wait for the Lease if there is one, fill the cache, then work; returns when work begins.

        Whatever it raises ends the process: there is no going on from half a start.
        """
        app = build_app(self, self.telemetry.registry, before_scrape=self._refresh_gauges)
        self._server = await serve(app, port=self.settings.http_port)
        wire = Wire(await connect(), on_answer=self._note_answer)
        self._cluster = cluster = Cluster(wire)
        await self._wait_for_lease(wire)
        await self.informer.begin(cluster)
        pace = Pace(
            seconds=self.settings.progress_status_seconds,
            writes_per_second=self.settings.progress_writes_per_second,
        )
        poller = ProgressPoller(
            self.cache, pace=pace, enqueue=self.queue.add, seconds=self.settings.progress_poll_seconds
        )
        reconciler = self._reconciler(cluster, await self._platform(cluster), pace)
        self.informer.on_gone = reconciler.forget
        for number in range(self.settings.workers):
            self._spawn(self._work(reconciler), f"worker-{number}")
        self._spawn(poller.run(), "progress")
        for kind in WATCHED:
            for namespace in self.informer.namespaces:
                self._spawn(self.informer.follow(cluster, kind, namespace), f"watch-{kind.plural}-{namespace or 'all'}")
        self._spawn(self.informer.resync(cluster), "resync")
        self._spawn(self.informer.guard(), "guard")

    async def _wait_for_lease(self, wire: Wire) -> None:
        settings = self.settings
        if not settings.lease_name:
            return
        leadership = Leadership(
            wire.api, namespace=settings.pod_namespace, lease=settings.lease_name, identity=settings.pod_name
        )
        self._is_waiting_for_lease = True
        self._spawn(leadership.run(), "lease")
        await leadership.held.wait()
        self._is_waiting_for_lease = False

    async def _platform(self, cluster: Cluster) -> Platform:
        """Return what the administrator chose, as far as the API server has it."""
        if self.settings.gang_scheduling == "Never" or await cluster.has(POD_GROUP):
            return self.settings
        logger.info("gangs are not scheduled as a whole: the API server has no PodGroups")
        return replace(self.settings, gang_scheduling="Never")

    def _reconciler(self, cluster: Cluster, platform: Platform, pace: Pace) -> Reconciler:
        known = Known()
        inquiry = Inquiry(self.cache, cluster, now=self.clock.now, known=known)
        return Reconciler(
            cache=self.cache,
            cluster=cluster,
            inquiry=inquiry,
            maker=Maker(self.cache, cluster, freshness=self.freshness, inquiry=inquiry, known=known),
            known=known,
            freshness=self.freshness,
            telemetry=self.telemetry,
            platform=platform,
            instance=self.settings.pod_name,
            now=self.clock.now,
            pace=pace,
            writers=self.informer.writers,
        )

    async def stop(self) -> None:
        """End all work, once or again; what was under way is found again at the next start."""
        self._stop_flag.set()  # kopf, too, waits for it, and for 5 s more where a signal came first
        for task in self._tasks:
            task.remove_done_callback(self._on_end)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._cluster is not None:
            await self._cluster.close()
        if self._server is not None:
            await self._server.cleanup()

    def illnesses(self) -> list[str]:
        """Return why the process should be restarted."""
        found = [f"task {task.get_name()} ended" for task in self._tasks if task.done()]
        if not self.freshness.is_alive:
            found.append(f"a change has not come over the watch for {self.freshness.overdue_seconds():.0f} s")
        if (seconds := self.queue.oldest_busy_seconds()) > STUCK_WORKER_SECONDS:
            found.append(f"a worker has been at one job for {seconds:.0f} s")
        if illness := self.informer.illness():
            found.append(illness)
        return found

    def is_ready(self) -> bool:
        """Tell whether the first full list is in the cache, or another replica works and this one could take over."""
        return self.informer.is_filled or self._is_waiting_for_lease

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._on_end)
        self._tasks.append(task)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Stop the process: none of the tasks ever ends by itself."""
        self.failure = f"{task.get_name()}: {task.exception() if not task.cancelled() else 'cancelled'}"
        self._stop_flag.set()

    def _note_answer(self, call: Call, status: int, message: str) -> None:
        self.telemetry.api_requests.labels(call.action, call.resource, str(status)).inc()
        self.rights.note(call, status, message)

    def _skip_in_scrape(self, manifest: Manifest, problem: str) -> None:
        """Note what cannot be shown; a scrape is the work of a thread, and the cache is not its own."""
        self._loop.call_soon_threadsafe(self.cache.note_unreadable, FINETUNE_JOB, manifest, problem)

    def _refresh_gauges(self) -> None:
        self.telemetry.queue_depth.set(len(self.queue))
        self.telemetry.watch_overdue_seconds.set(self.freshness.overdue_seconds())
        self.telemetry.show_ignored(self.cache.ignored())
        self.telemetry.show_missing_rights(self.rights.missing())
        self.telemetry.missing_fields.set(len(self.informer.schema.missing))
        self.telemetry.foreign_writes.set(self.informer.writers.num_foreign)

    async def _work(self, reconciler: Reconciler) -> None:
        while True:
            uid, waited = await self.queue.get()
            self.telemetry.queue_wait_seconds.observe(waited)
            try:
                with self.telemetry.reconcile_seconds.time():
                    again = await reconciler.reconcile(uid)
                self.queue.succeeded(uid)
                if again is not None:
                    self.queue.add_after(uid, again)
            except ApiError as error:
                self._retry(uid, str(error), is_expected=error.status == CONFLICT)
            except NameTakenError as error:
                self._retry(uid, str(error), is_expected=False)
            except Exception as error:
                logger.exception("a look at a job failed", extra={"uid": uid})
                self._retry(uid, repr(error), is_expected=False)
            finally:
                self.queue.done(uid)

    def _retry(self, uid: str, error: str, *, is_expected: bool) -> None:
        self.telemetry.reconciles.labels("error").inc()
        delay = self.queue.retry(uid)
        level = logging.DEBUG if is_expected else logging.WARNING
        logger.log(level, "a job is looked at again", extra={"uid": uid, "seconds": round(delay, 1), "error": error})
