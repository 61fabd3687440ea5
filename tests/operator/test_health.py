"""Probes, over HTTP."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from finetune_operator.shell.freshness import PATIENCE_SECONDS, Freshness
from finetune_operator.shell.health import build_app


@dataclass
class Patient:
    """Somebody with these illnesses."""

    found: list[str] = field(default_factory=list)
    ready: bool = True

    def illnesses(self) -> list[str]:
        return self.found

    def is_ready(self) -> bool:
        return self.ready


async def get(path: str, patient: Patient) -> tuple[int, str]:
    registry = CollectorRegistry()
    gauge = Gauge("moment", "Set before a scrape.", registry=registry)
    app = build_app(patient, registry, before_scrape=lambda: gauge.set(7))
    async with TestClient(TestServer(app)) as client, client.get(path) as response:
        return response.status, await response.text()


@pytest.mark.parametrize(
    ("path", "patient", "answer"),
    [
        ("/healthz", Patient(), (200, "ok")),
        ("/healthz", Patient(["task resync ended", "watch"]), (503, "task resync ended\nwatch")),
        ("/readyz", Patient(), (200, "ok")),
        ("/readyz", Patient(ready=False), (503, "the first list is not in yet")),
    ],
)
async def test_probes_say_how_the_process_is(path: str, patient: Patient, answer: tuple[int, str]) -> None:
    assert await get(path, patient) == answer


async def test_metrics_are_those_of_the_moment() -> None:
    status, text = await get("/metrics", Patient())

    assert status == 200
    assert "moment 7.0" in text


async def test_a_scrape_that_takes_long_keeps_nobody_else_waiting() -> None:
    """Of five thousand jobs it takes seconds, in which watches, looks and probes have to go on."""
    registry, is_asked, is_answered = CollectorRegistry(), threading.Event(), threading.Event()

    class Slow(Collector):
        def collect(self) -> Iterator[Metric]:
            is_asked.set()
            assert is_answered.wait(timeout=60)
            yield GaugeMetricFamily("slow", "Comes last.", value=1)

    registry.register(Slow())
    app = build_app(Patient(), registry, before_scrape=is_answered.clear)
    is_answered.set()
    async with TestClient(TestServer(app)) as client:
        scrape = asyncio.create_task(client.get("/metrics"))
        await asyncio.to_thread(is_asked.wait, 60)
        async with client.get("/healthz") as response:
            health = await response.text()
        is_answered.set()
        async with await scrape as response:
            text = await response.text()

    assert (health, "slow 1.0" in text) == ("ok", True)


def freshness_after(steps: list[tuple[str, str, int]], *, seconds: float) -> Freshness:
    """Return it so long after changes were written and shown, in this order."""
    time = [0.0]
    freshness = Freshness(clock=lambda: time[0])
    for step, kind, version in steps:
        (freshness.expect if step == "written" else freshness.saw)(kind, version)
    time[0] = seconds
    return freshness


def test_a_watch_that_does_not_show_a_known_change_in_time_is_opened_anew_long_before_the_process_is_ended() -> None:
    steps = [("written", "Pod", 12), ("shown", "Pod", 11)]

    found = [freshness_after(steps, seconds=seconds) for seconds in (89, 90, 899, 900)]

    assert [(freshness.lagging(), freshness.is_alive) for freshness in found] == [
        ([], True),
        (["Pod"], True),
        (["Pod"], True),
        (["Pod"], False),
    ]


@pytest.mark.parametrize(
    ("steps", "is_alive"),
    [
        ([("written", "Pod", 12), ("shown", "Pod", 13)], True),
        ([("shown", "Pod", 12), ("written", "Pod", 12)], True),
        ([("written", "Pod", 12), ("shown", "Job", 13)], False),
    ],
    ids=["a newer change is shown", "the watch was quicker than we", "another kind is shown"],
)
def test_a_watch_lives_by_the_changes_of_its_own_kind(steps: list[tuple[str, str, int]], is_alive: bool) -> None:
    assert freshness_after(steps, seconds=10 * PATIENCE_SECONDS).is_alive == is_alive
