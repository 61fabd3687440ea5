# ruff: noqa: ARG002 - the server takes the arguments of the real one
"""Lists and watches: nothing in between is lost, and nothing that anybody writes stops them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from finetune_api import keys
from finetune_api.contract import Role
from finetune_operator.shell.cache import Cache
from finetune_operator.shell.cluster import Cluster, Page
from finetune_operator.shell.freshness import Freshness
from finetune_operator.shell.informer import ALL, Informer, RestoredError
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, POD, Kind
from finetune_operator.shell.queue import KeyedQueue
from finetune_operator.shell.telemetry import Telemetry
from finetune_operator.shell.wire import ApiError, Call
from finetune_operator.shell.writers import TEXT
from tests.operator.given import T0, UID, manifest, raw_job, raw_pod

Object = dict[str, Any]
#: As anybody who may create a Pod somewhere can write it.
EVIL_POD = {
    "metadata": {
        "name": "x",
        "namespace": "tenant-b",
        "uid": "evil",
        "resourceVersion": "5",
        "labels": {keys.LABEL_JOB: "a", keys.LABEL_ROLE: "train", keys.LABEL_COMPLETION_INDEX: "abc"},
    },
    "spec": {},
    "status": {"phase": "Pending"},
}


class OutOfScriptError(Exception):
    """The server has nothing more to say; ends what would go on for ever."""


@dataclass
class Server:
    """An API server: what it lists, and what each watch shows, an ApiError last where it breaks."""

    objects: dict[str, list[Object]] = field(default_factory=dict)
    watches: list[list[tuple[str, Object] | ApiError]] = field(default_factory=list)
    version: int = 50
    forbidden: set[str] = field(default_factory=set)
    """Namespaces that may not be listed."""
    asked: list[str] = field(default_factory=list)

    async def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Page]:
        self.asked.append(f"list {kind.plural}{namespace and f' in {namespace}'}")
        if self.version == 0:
            raise a_refusal(503)
        if namespace in self.forbidden:
            raise a_refusal(403)
        for found in self.objects.get(kind.name, []):
            if found["metadata"]["namespace"] == namespace or not namespace:
                yield Page([found], self.version)
        yield Page([], self.version)

    async def openapi(self, group: str, version: str) -> Object:
        raise a_refusal(404)

    async def watch(self, kind: Kind, namespace: str = "", *, version: int) -> AsyncIterator[tuple[str, Object]]:
        self.asked.append(f"watch {kind.plural}{namespace and f' in {namespace}'} from {version}")
        if not self.watches:
            raise OutOfScriptError
        for event in self.watches.pop(0):
            if isinstance(event, ApiError):
                raise event
            yield event

    @property
    def cluster(self) -> Cluster:
        return cast("Cluster", self)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept, instead of sleeping."""
    slept: list[float] = []

    async def nap(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", nap)
    return slept


def an_informer(*namespaces: str) -> Informer:
    """Return one for some namespaces, or for all of them."""
    loop = asyncio.get_running_loop()
    return Informer(
        cache=Cache(now=lambda: T0),
        queue=KeyedQueue(call_later=loop.call_later, jitter=lambda: 0.0, clock=lambda: 0.0),
        freshness=Freshness(clock=lambda: 0.0, is_by_namespace=bool(namespaces)),
        namespaces=namespaces or (ALL,),
        telemetry=Telemetry(CollectorRegistry(), version="0"),
        resync_seconds=600,
        clock=lambda: 0.0,
    )


def a_refusal(status: int) -> ApiError:
    return ApiError(Call(method="GET", path="/"), status, "no")


def a_family() -> dict[str, list[Object]]:
    return {
        FINETUNE_JOB.name: [manifest()],
        JOB.name: [raw_job(Role.TRAIN, attempt=1)],
        POD.name: [raw_pod(Role.TRAIN, attempt=1)],
    }


async def followed(informer: Informer, server: Server, namespace: str = ALL) -> None:
    with pytest.raises(OutOfScriptError):
        await informer.follow(server.cluster, POD, namespace)


async def test_a_pod_that_cannot_be_read_stops_neither_the_first_list_nor_a_later_one_nor_a_watch() -> None:
    informer = an_informer()
    objects = a_family()
    objects[POD.name].insert(0, EVIL_POD)
    server = Server(objects, watches=[[("ADDED", EVIL_POD), ("ADDED", raw_pod(Role.TRAIN, attempt=1, index=1))]])

    await informer.begin(server.cluster)
    await informer.list_everything(server.cluster)
    await followed(informer, server)

    assert len(informer.cache.observe(UID).pods) == 2
    assert informer.cache.ignored() == {("pods", "unreadable"): 1}
    assert (await informer.queue.get())[0] == UID


async def test_a_watch_begins_where_the_list_ended_and_goes_on_where_it_broke(naps: list[float]) -> None:
    informer = an_informer()
    later = raw_pod(Role.TRAIN, attempt=1)
    later["metadata"]["resourceVersion"] = "60"
    bookmark = {"metadata": {"resourceVersion": "70"}}
    broken = a_refusal(0)
    watches = [[("MODIFIED", later), broken], [broken], [("BOOKMARK", bookmark)]]
    server = Server(a_family(), watches=cast("Any", watches))

    await informer.begin(server.cluster)
    server.version = 70
    await followed(informer, server)

    first, second, third, last = (f"watch pods from {version}" for version in (50, 60, 60, 70))
    lists = ["list finetunejobs", "list jobs", "list pods"]
    assert server.asked == [*lists, first, "list pods", second, "list pods", third, last]
    assert naps == [0.2, 0.4, 0.1]


async def test_a_watch_that_breaks_a_thousand_times_is_opened_once_more(naps: list[float]) -> None:
    informer = an_informer()
    server = Server(watches=[[a_refusal(0)] for _ in range(1100)])
    await informer.begin(server.cluster)

    await followed(informer, server)

    assert (len(naps), naps[-1]) == (1100, 30.0)


@pytest.mark.usefixtures("naps")
async def test_a_watch_that_is_too_old_begins_anew_with_a_list_and_what_that_lacks_is_gone() -> None:
    informer = an_informer()
    server = Server(a_family(), watches=[[a_refusal(410)]])
    await informer.begin(server.cluster)
    server.objects[POD.name] = []
    server.version = 90

    await followed(informer, server)

    assert informer.cache.observe(UID).pods == ()
    assert server.asked[-3:] == ["watch pods from 50", "list pods", "watch pods from 90"]


@pytest.mark.usefixtures("naps")
async def test_a_bookmark_shows_that_a_watch_is_alive() -> None:
    informer = an_informer()
    server = Server(watches=[[("BOOKMARK", {"metadata": {"resourceVersion": "70"}})]])
    await informer.begin(server.cluster)

    informer.freshness.expect(POD.name, 60)
    before = dict(informer.freshness._expected)
    await followed(informer, server)

    assert (before, informer.freshness._expected[POD.name]) == ({**before, POD.name: [(60, 0.0)]}, [])


@pytest.mark.parametrize("status", [403, 429, 500, 503])
async def test_a_watch_that_is_refused_for_long_begins_with_a_list_now_and_then_and_comes_back(
    status: int, naps: list[float]
) -> None:
    """As while a right is missing, or while etcd is away for an hour."""
    informer = an_informer()
    pod = raw_pod(Role.TRAIN, attempt=1)
    pod["metadata"]["resourceVersion"] = "60"
    watches = [*[[a_refusal(status)] for _ in range(20)], [("ADDED", pod)]]
    server = Server({FINETUNE_JOB.name: [manifest()]}, watches=cast("Any", watches))
    await informer.begin(server.cluster)

    await followed(informer, server)

    assert [pod.uid for pod in informer.cache.observe(UID).pods] == [pod["metadata"]["uid"]]
    assert server.asked[3:].count("list pods") == 4
    assert max(naps) == 30.0


def in_namespace(found: Object, namespace: str, *, uid: str) -> Object:
    """Return the same object of another job in another namespace."""
    return {**found, "metadata": {**found["metadata"], "namespace": namespace, "uid": uid}}


def jobs_in(**uids: str) -> dict[str, list[Object]]:
    """Return a FinetuneJob in each namespace."""
    return {FINETUNE_JOB.name: [in_namespace(manifest(), namespace, uid=uid) for namespace, uid in uids.items()]}


async def test_each_of_several_namespaces_is_listed_and_watched_and_no_other() -> None:
    informer, bookmark = an_informer("search", "shop"), {"metadata": {"resourceVersion": "70"}}
    server = Server(jobs_in(search="1", shop="2", other="3"), watches=[[("BOOKMARK", bookmark)]])

    await informer.begin(server.cluster)
    await followed(informer, server, "shop")

    assert sorted(informer.cache.uids()) == ["1", "2"]
    places = ("search", "shop")
    lists = [f"list {kind} in {place}" for kind in ("finetunejobs", "jobs", "pods") for place in places]
    assert server.asked == [*lists, *(f"watch pods in shop from {version}" for version in (50, 70))]
    assert informer._versions["Pod in search"] == 50


@pytest.mark.usefixtures("naps")
async def test_what_the_list_of_one_namespace_lacks_is_gone_unless_that_of_another_has_it() -> None:
    informer = an_informer("search", "shop")
    server = Server(jobs_in(search="1", shop="2"), watches=[[a_refusal(410)]])
    await informer.begin(server.cluster)
    server.objects, server.version = jobs_in(shop="2"), 90

    await informer.list_everything(server.cluster)
    await followed(informer, server, "search")

    assert list(informer.cache.uids()) == ["2"]
    assert (informer._versions["Pod in search"], informer._versions["Pod in shop"]) == (90, 50)


async def test_what_came_between_the_lists_of_two_namespaces_stays() -> None:
    class Moving(Server):
        async def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Page]:
            yield Page([], 50 if namespace == "search" else 70)

    informer = an_informer("search", "shop")
    job = in_namespace(manifest(), "search", uid="1")
    job["metadata"]["resourceVersion"] = "60"
    informer.on_event(FINETUNE_JOB, "ADDED", job)

    await informer.list_everything(Moving().cluster)

    assert list(informer.cache.uids()) == ["1"]


@pytest.mark.usefixtures("naps")
async def test_a_namespace_that_may_not_be_listed_costs_the_others_nothing_and_comes_in_when_it_may() -> None:
    informer = an_informer("search", "shop")
    server = Server(jobs_in(search="1", shop="2"), forbidden={"shop"})
    await informer.begin(server.cluster)
    before = list(informer.cache.uids())

    await followed(informer, server, "shop")
    server.forbidden = set()
    await informer.list_everything(server.cluster)
    server.forbidden = {"search"}
    await informer.list_everything(server.cluster)

    assert before == ["1"]
    assert "watch pods in shop from 0" in server.asked
    assert sorted(informer.cache.uids()) == ["1", "2"]


async def test_where_no_namespace_may_be_listed_the_start_waits(naps: list[float]) -> None:
    informer = an_informer("search", "shop")
    server = Server(jobs_in(search="1"), forbidden={"search", "shop"})

    with pytest.raises(ApiError, match="403"):
        await informer.list_everything(server.cluster)

    assert not informer.is_filled


async def test_a_watch_of_one_namespace_shows_nothing_of_another() -> None:
    informer = an_informer("search", "shop")
    lagging = informer.freshness.watch_of(POD.name, "search")

    informer.freshness.expect(lagging, 60)
    pod = in_namespace(raw_pod(Role.TRAIN, attempt=1), "shop", uid="other")
    pod["metadata"]["resourceVersion"] = "70"
    informer.on_event(POD, "ADDED", pod)
    informer.freshness.clock = lambda: 90.0

    assert informer.freshness.lagging() == ["Pod in search"]


async def test_a_watch_that_lags_behind_is_opened_anew_with_a_list() -> None:
    informer = an_informer()
    silent = asyncio.Event()

    class Silent(Server):
        async def watch(self, kind: Kind, namespace: str = "", *, version: int) -> AsyncIterator[tuple[str, Object]]:
            self.asked.append(f"watch {kind.plural} from {version}")
            if version == 90:
                raise OutOfScriptError
            silent.set()
            await asyncio.Event().wait()
            yield "BOOKMARK", {}

    server = Silent(a_family())
    await informer.begin(server.cluster)
    watch = asyncio.create_task(followed(informer, server))
    await silent.wait()
    server.version = 90

    informer.freshness.expect(POD.name, 60)
    informer.freshness.clock = lambda: 90.0
    informer.reopen_what_lags()
    await watch

    assert server.asked[-3:] == ["watch pods from 50", "list pods", "watch pods from 90"]
    assert informer.freshness.lagging() == []


async def test_a_watch_that_still_lags_after_it_was_opened_anew_gets_time_before_the_next_list() -> None:
    informer = an_informer()
    now = [90.0]
    informer.clock = informer.freshness.clock = lambda: now[0]
    informer.freshness.expect(POD.name, 60)
    num_reopened = []

    for now[0] in (180.0, 190.0, 269.0, 270.0):
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as informer._watches[POD.name]:
                informer.reopen_what_lags()
                num_reopened.append(POD.name not in informer._watches)
                await asyncio.sleep(0)

    assert num_reopened == [True, False, False, True]


@pytest.mark.usefixtures("naps")
@pytest.mark.parametrize("way", ["a list", "a bookmark", "a watch that broke"])
async def test_a_cluster_that_was_restored_from_a_backup_ends_the_process(way: str) -> None:
    informer = an_informer()
    bookmark = {"metadata": {"resourceVersion": "49"}}
    server = Server(a_family(), watches=[[a_refusal(0) if way == "a watch that broke" else ("BOOKMARK", bookmark)]])
    await informer.begin(server.cluster)
    server.version = 49

    with pytest.raises(RestoredError, match=r"version 49 of .* after 50: the cluster was restored from a backup"):
        await (informer.list_everything(server.cluster) if way == "a list" else informer.follow(server.cluster, POD))


@pytest.mark.usefixtures("naps")
async def test_pages_of_a_long_list_that_a_watch_has_overtaken_are_no_restored_cluster() -> None:
    informer = an_informer()
    await informer.begin(Server(a_family()).cluster)

    class Overtaken(Server):
        async def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Page]:
            yield Page([], 60)
            informer._versions[kind.name] = 70
            yield Page([], 60)

    await informer.list_everything(Overtaken().cluster)

    assert informer._versions[POD.name] == 70


async def test_only_pages_that_do_not_come_are_an_illness_and_never_how_many_there_are() -> None:
    informer = an_informer()
    time = [0.0]
    informer.clock = lambda: time[0]

    def at(seconds: float) -> str:
        time[0] = seconds
        return informer.illness()

    waiting_for_the_lease = at(9999)
    informer.heard_at = 0.0
    first = [at(300), at(301)]
    await informer.list_everything(Server().cluster)
    later = [at(301 + 1800), at(302 + 1800)]

    assert waiting_for_the_lease == ""
    assert first == ["", "no list has come for 301 s; the first list is not in"]
    assert later == ["", "no list has come for 1801 s"]


def with_phase(phase: str, *, version: int) -> Object:
    job = manifest()
    job["status"] = {"phase": phase}
    job["metadata"]["resourceVersion"] = str(version)
    return job


async def test_a_status_that_nobody_here_has_written_is_another_operators(caplog: pytest.LogCaptureFixture) -> None:
    informer = an_informer()
    informer.on_event(FINETUNE_JOB, "ADDED", manifest())

    for version, phase in ((60, "Preparing"), (61, "Queued")):
        informer.on_event(FINETUNE_JOB, "MODIFIED", with_phase(phase, version=version))

    assert informer.writers.num_foreign == 2
    assert [record.message for record in caplog.records] == [TEXT]


@pytest.mark.parametrize("order", ["the answer first", "the watch first", "the answer is lost"])
async def test_a_status_of_ones_own_is_no_other_operators(order: str) -> None:
    informer = an_informer()
    informer.on_event(FINETUNE_JOB, "ADDED", manifest())
    event = with_phase("Preparing", version=60)

    if order == "the answer first":
        informer.writers.wrote(UID, 60)
    if order == "the answer is lost":
        informer.writers.may_have_written(UID)
    if order == "the watch first":
        with informer.writers.writing(UID):
            informer.on_event(FINETUNE_JOB, "MODIFIED", event)
            informer.writers.wrote(UID, 60)
    informer.on_event(FINETUNE_JOB, "MODIFIED", event)
    suspended = deepcopy(event)
    suspended["spec"]["suspend"] = True
    informer.on_event(FINETUNE_JOB, "MODIFIED", suspended)

    assert informer.writers.num_foreign == 0


async def test_a_write_of_our_own_that_comes_back_has_nothing_looked_at() -> None:
    informer = an_informer()
    written = manifest()
    informer.cache.put(FINETUNE_JOB, written)

    informer.on_event(FINETUNE_JOB, "MODIFIED", written)

    assert len(informer.queue) == 0


async def test_of_a_job_that_is_gone_nobody_remembers_anything() -> None:
    informer = an_informer()
    told: list[str] = []
    informer.on_gone = told.append
    informer.on_event(FINETUNE_JOB, "ADDED", manifest())

    informer.on_event(FINETUNE_JOB, "DELETED", manifest())

    assert told == [UID]
