"""The client of the API server: what goes over the wire, and what answers become."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio import client
from kubernetes.aio.config import kube_config

from finetune_operator.core.decision import Deletion, Event
from finetune_operator.core.observed import Notice
from finetune_operator.shell.cluster import Cluster, Page
from finetune_operator.shell.kinds import JOB, POD, POD_GROUP
from finetune_operator.shell.wire import ApiError, Call, Wire, as_yaml, connect, find_proxy
from tests.operator.given import T0, UID, a_job, at

JOB_MANIFEST = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "namespace": "search"}}


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    content: str
    body: Any


@dataclass
class Scripted:
    """A server that answers with what it is given, in order, and keeps what it was asked."""

    answers: list[tuple[Any, ...]]
    """Status, body, and headers as pairs."""
    seen: list[Seen] = field(default_factory=list)
    counted: list[tuple[str, str, int]] = field(default_factory=list)
    naps: list[float] = field(default_factory=list)
    time: float = 100.0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.seen.append(Seen(request.method, request.path, dict(request.query), request.content_type, body))
        status, answer, *headers = self.answers.pop(0)
        if isinstance(answer, list) and "watch" in request.query:
            return web.Response(text="".join(f"{json.dumps(event)}\n" for event in answer))
        return web.json_response(answer, status=status, headers=dict(headers))

    @asynccontextmanager
    async def cluster(self) -> AsyncIterator[Cluster]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        async with TestServer(app) as server:
            api = client.ApiClient(client.Configuration(host=str(server.make_url("")).rstrip("/")))
            cluster = Cluster(Wire(api, self._count, clock=lambda: self.time, sleep=self._nap, jitter=lambda: 0.5))
            try:
                yield cluster
            finally:
                await cluster.close()

    def _count(self, call: Call, status: int, _: str) -> None:
        self.counted.append((call.action, call.resource, status))

    async def _nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.time += seconds


async def test_a_child_is_posted_once_and_every_field_of_it_has_to_be_known() -> None:
    wire = Scripted([(201, {"kind": "Job"})])

    async with wire.cluster() as cluster:
        made = await cluster.create(JOB_MANIFEST)

    path = "/apis/batch/v1/namespaces/search/jobs"
    query = {"fieldManager": "finetune-operator", "fieldValidation": "Strict"}
    assert wire.seen == [Seen("POST", path, query, "application/json", JOB_MANIFEST)]
    assert (made, wire.counted) == ({"kind": "Job"}, [("POST", "jobs", 201)])


async def test_a_rehearsal_changes_nothing() -> None:
    wire = Scripted([(200, {})])

    async with wire.cluster() as cluster:
        await cluster.create(JOB_MANIFEST, is_rehearsal=True)

    assert wire.seen[0].query["dryRun"] == "All"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"resources": [{"name": "workloads"}, {"name": "podgroups"}]}), True),
        ((200, {"resources": [{"name": "priorityclasses"}]}), False),
        ((404, {}), False),
    ],
)
async def test_the_api_server_is_asked_which_kinds_it_has(answer: tuple[int, Any], *, expected: bool) -> None:
    wire = Scripted([answer])

    async with wire.cluster() as cluster:
        found = await cluster.has(POD_GROUP)

    assert (found, wire.seen[0].path) == (expected, "/apis/scheduling.k8s.io/v1beta1")


async def test_a_status_is_written_only_over_the_version_that_was_read() -> None:
    wire = Scripted([(200, {})])
    job = a_job()

    async with wire.cluster() as cluster:
        await cluster.apply_status(job, job.status)

    (seen,) = wire.seen
    assert seen.path == "/apis/finetune.dev/v1alpha1/namespaces/search/finetunejobs/qwen/status"
    assert seen.body["metadata"] == {"name": "qwen", "uid": UID, "resourceVersion": "7"}
    assert seen.body["status"]["observedGeneration"] == -1


@given(st.text())
def test_what_is_applied_is_the_same_as_yaml_and_as_json(text: str) -> None:
    written = as_yaml({"text": text})

    assert yaml.safe_load(written) == json.loads(written) == {"text": text}
    assert not re.search(r"[^\\](\\\\)*\\ud[89a-f]", written)


def test_half_a_character_is_shown_as_one_that_is_not_known() -> None:
    assert as_yaml({"text": "\ud83e"}) == '{"text": "\\ufffd"}'


async def test_only_the_object_that_was_seen_is_deleted_and_its_pods_go_first() -> None:
    wire = Scripted([(200, {}), (200, {})])

    async with wire.cluster() as cluster:
        was_there = await cluster.delete("search", Deletion(kind="Job", name="a", uid="1"))
        await cluster.delete("search", Deletion(kind="Pod", name="b", uid="2", is_forced=True))

    assert was_there
    options = {"kind": "DeleteOptions", "apiVersion": "v1"}
    assert [seen.body for seen in wire.seen] == [
        {**options, "propagationPolicy": "Foreground", "preconditions": {"uid": "1"}},
        {**options, "propagationPolicy": "Background", "preconditions": {"uid": "2"}, "gracePeriodSeconds": 0},
    ]


@pytest.mark.parametrize("status", [404, 409])
async def test_what_is_gone_or_another_is_no_error_to_delete(status: int) -> None:
    wire = Scripted([(status, {"message": "no"})])

    async with wire.cluster() as cluster:
        was_there = await cluster.delete("search", Deletion(kind="Job", name="a", uid="1"))

    assert (was_there, wire.counted) == (False, [("DELETE", "jobs", status)])


async def test_what_is_not_there_reads_as_nothing() -> None:
    wire = Scripted([(404, {"message": "not found"})])

    async with wire.cluster() as cluster:
        assert await cluster.read(JOB, "search", "a") is None


async def test_lists_are_read_page_by_page_and_only_ours() -> None:
    first = {"items": [{"a": 1}], "metadata": {"continue": "next", "resourceVersion": "9"}}
    wire = Scripted([(200, first), (200, {"items": [{"a": 2}], "metadata": {"resourceVersion": "9"}})])

    async with wire.cluster() as cluster:
        found = [page async for page in cluster.pages(POD)]

    assert found == [Page([{"a": 1}], 9), Page([{"a": 2}], 9)]
    assert [seen.query for seen in wire.seen] == [
        {"limit": "50", "labelSelector": "finetune.dev/job"},
        {"limit": "50", "labelSelector": "finetune.dev/job", "continue": "next"},
    ]


async def test_an_answer_that_is_no_list_is_an_error_and_not_an_empty_cluster() -> None:
    wire = Scripted([(200, {"message": "signed in"})])

    async with wire.cluster() as cluster:
        with pytest.raises(ApiError, match="the answer is no list"):
            _ = [page async for page in cluster.pages(POD)]


def a_pod_event(change: str, version: int, **fields: object) -> dict[str, Any]:
    return {"type": change, "object": {"metadata": {"uid": "a", "resourceVersion": str(version)}, **fields}}


async def test_a_watch_shows_what_happens_after_a_version_to_what_is_ours_however_long_its_lines_are() -> None:
    events = [a_pod_event("ADDED", 8, note="x" * 3_000_000), a_pod_event("BOOKMARK", 9)]
    wire = Scripted([(200, events)])

    async with wire.cluster() as cluster:
        seen = [event async for event in cluster.watch(POD, "search", version=7)]

    assert seen == [(event["type"], event["object"]) for event in events]
    (asked,) = wire.seen
    assert asked.path == "/api/v1/namespaces/search/pods"
    assert asked.query == {
        "watch": "true",
        "resourceVersion": "7",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "300",
        "labelSelector": "finetune.dev/job",
    }


@pytest.mark.parametrize(
    "answer",
    [(410, {"code": 410, "message": "too old"}), (200, [{"type": "ERROR", "object": {"code": 410, "message": "no"}}])],
    ids=["as the answer", "as an event"],
)
async def test_a_watch_that_is_too_old_says_so(answer: tuple[int, Any]) -> None:
    async with Scripted([answer]).cluster() as cluster:
        with pytest.raises(ApiError) as error:
            _ = [event async for event in cluster.watch(POD, version=7)]

    assert error.value.status == 410


async def test_events_about_an_object_are_read_oldest_first_whichever_api_wrote_them() -> None:
    events = [
        {
            "message": "c",
            "type": "Warning",
            "series": {"lastObservedTime": "2026-11-23T09:00:30.000000Z"},
            "eventTime": "2026-11-23T08:00Z",
        },
        {"message": "a", "lastTimestamp": "2026-11-23T09:00:10Z", "type": "Normal"},
        {"message": "b", "eventTime": "2026-11-23T09:00:20.000000Z", "type": "Warning"},
    ]
    wire = Scripted([(200, {"items": events})])

    async with wire.cluster() as cluster:
        notices = await cluster.events_about("search", "uid-1")

    query = {"fieldSelector": "involvedObject.uid=uid-1", "limit": "500"}
    assert [(seen.path, seen.query) for seen in wire.seen] == [("/api/v1/namespaces/search/events", query)]
    assert notices == [
        Notice(message="a", is_warning=False, seen_at=at(10)),
        Notice(message="b", seen_at=at(20)),
        Notice(message="c", seen_at=at(30)),
    ]


async def test_the_servers_words_are_in_the_error() -> None:
    wire = Scripted([(403, {"message": "jobs is forbidden"})])

    async with wire.cluster() as cluster:
        with pytest.raises(ApiError, match=r"POST /apis/batch/v1/.*: 403 jobs is forbidden"):
            await cluster.create(JOB_MANIFEST)


async def test_a_server_that_does_not_answer_is_an_error_too() -> None:
    async with TestServer(web.Application()) as server:
        host = str(server.make_url("")).rstrip("/")
    counted: list[tuple[Call, int, str]] = []
    cluster = Cluster(
        Wire(client.ApiClient(client.Configuration(host=host)), on_answer=lambda *answer: counted.append(answer))
    )

    with pytest.raises(ApiError):
        await cluster.read(JOB, "search", "a")
    await cluster.close()

    assert [(call.action, status) for call, status, _ in counted] == [("GET", 0)]


async def test_an_event_tells_what_it_is_about() -> None:
    wire = Scripted([(201, {})])
    event = Event(kind="Warning", reason="RankKilled", action="Restarting", note="words")

    async with wire.cluster() as cluster:
        await cluster.post_event(a_job(), event, instance="operator-0", now=T0)

    (seen,) = wire.seen
    assert seen.path == "/apis/events.k8s.io/v1/namespaces/search/events"
    assert {key: seen.body[key] for key in ("eventTime", "type", "reason", "action", "note", "reportingInstance")} == {
        "eventTime": "2026-11-23T09:00:00.000000Z",
        "type": "Warning",
        "reason": "RankKilled",
        "action": "Restarting",
        "note": "words",
        "reportingInstance": "operator-0",
    }
    assert seen.body["regarding"]["uid"] == UID


@pytest.mark.parametrize(
    ("status", "message", "is_rejection"),
    [
        (422, "invalid", True),
        (400, "bad", True),
        (500, "etcd", False),
        (403, "no", False),
    ],
)
def test_a_refusal_for_good_is_told_from_a_bad_moment(status: int, message: str, is_rejection: bool) -> None:
    assert ApiError(Call(method="PATCH", path="x"), status, message).is_rejection == is_rejection


BUSY = (429, {"message": "too many requests"}, ("Retry-After", "7"))


async def test_a_server_that_asks_for_a_pause_gets_it_and_is_asked_the_same_again() -> None:
    wire = Scripted([BUSY, (503, {}, ("Retry-After", "2")), (201, {"kind": "Job"})])

    async with wire.cluster() as cluster:
        made = await cluster.create(JOB_MANIFEST)

    assert (made, wire.naps) == ({"kind": "Job"}, [7.5, 2.5])
    assert [status for *_, status in wire.counted] == [429, 503, 201]


async def test_while_one_waits_for_a_busy_server_nobody_asks_it_anything() -> None:
    wire = Scripted([BUSY, (200, {}), (200, {})])

    async with wire.cluster() as cluster:
        await cluster.read(JOB, "search", "a")
        wire.time -= 3.0  # as it was for another look at the same time
        await cluster.read(JOB, "search", "b")

    assert wire.naps == [7.5, 3.0]


async def test_a_server_that_is_busy_for_ever_is_an_error_in_the_end() -> None:
    wire = Scripted([(429, {"message": "busy"}, ("Retry-After", "86400"))] * 5)

    async with wire.cluster() as cluster:
        with pytest.raises(ApiError, match="429 busy"):
            await cluster.read(JOB, "search", "a")

    assert wire.naps == [30.5] * 4


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/pods", "pods"),
        ("/api/v1/namespaces/search/pods/a", "pods"),
        ("/apis/finetune.dev/v1alpha1/namespaces/search/finetunejobs/a/status", "finetunejobs/status"),
        ("/apis/batch/v1/jobs", "jobs"),
    ],
)
def test_a_request_is_counted_by_what_rbac_calls_its_resource(path: str, resource: str) -> None:
    assert Call(method="GET", path=path).resource == resource


WORKLOAD = {
    "status": {
        "conditions": [
            {"type": "PodsReady", "status": "False", "message": "not yet"},
            {"type": "QuotaReserved", "status": "False", "message": "2 more GPUs are needed"},
        ]
    }
}
PREEMPTED = {
    "status": {
        "conditions": [
            {"type": "QuotaReserved", "status": "True", "message": "Quota reserved in ClusterQueue gpus"},
            {"type": "Evicted", "status": "True", "message": "Preempted to accommodate a workload"},
        ]
    }
}


@pytest.mark.parametrize(
    ("answers", "words", "num_asked"),
    [
        ([(200, {"items": [WORKLOAD]})], "2 more GPUs are needed", 1),
        ([(404, {}), (200, {"items": [WORKLOAD]})], "2 more GPUs are needed", 2),
        ([(200, {"items": [PREEMPTED]})], "Preempted to accommodate a workload", 1),
        ([(200, {"items": []})], "", 1),
        ([(404, {}), (404, {})], "", 2),
        ([(403, {}), (403, {})], "", 2),
    ],
    ids=["newest API", "older API", "just preempted", "not there yet", "no Kueue", "may not be read"],
)
async def test_kueue_says_why_it_holds_a_job(answers: list[tuple[int, Any]], words: str, num_asked: int) -> None:
    wire = Scripted([*answers])

    async with wire.cluster() as cluster:
        assert await cluster.queue_words("search", "uid-1") == words

    versions = ["v1beta2", "v1beta1"][:num_asked]
    assert [one.path for one in wire.seen] == [
        f"/apis/kueue.x-k8s.io/{version}/namespaces/search/workloads" for version in versions
    ]
    assert {one.query["labelSelector"] for one in wire.seen} == {"kueue.x-k8s.io/job-uid=uid-1"}


@pytest.mark.parametrize(
    ("status", "message", "is_rejection"),
    [
        (422, "Job.batch is invalid: spec.x: Required value", True),
        (400, "unknown field", True),
        (422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", False),
        (400, 'admission webhook "w" denied the request: no', False),
        (403, "exceeded quota", False),
    ],
)
def test_a_policy_is_no_mistake_in_an_object(status: int, message: str, *, is_rejection: bool) -> None:
    error = ApiError(Call(method="PATCH", path="jobs"), status, message)

    assert (error.is_rejection, error.is_refusal) == (is_rejection, not is_rejection)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, "http://proxy.example:3128"),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "10.96.0.1,.svc"}, None),
    ],
    ids=["none", "for https", "for http alone", "not for this server"],
)
def test_the_api_server_is_asked_through_the_proxy_that_the_environment_names_for_it(
    environment: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert find_proxy("https://10.96.0.1:443") == proxy


async def test_no_thread_looks_for_a_proxy_before_each_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As aiohttp does where it may trust the environment, and for a .netrc as well: two threads for each request."""
    kubeconfig = tmp_path / "config"
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    clusters, users = (
        [{"name": "c", "cluster": {"server": "https://10.96.0.1"}}],
        [{"name": "u", "user": {"token": "t"}}],
    )
    content = {"current-context": "c", "contexts": [context], "clusters": clusters, "users": users}
    kubeconfig.write_text(json.dumps(content))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))

    api = await connect()

    session = api.rest_client._create_pool_manager()
    assert session.trust_env is False
    await session.close()
    await api.close()
