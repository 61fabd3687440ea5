"""Probes, over HTTP."""

from dataclasses import dataclass, field

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Gauge

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


def test_a_watch_that_does_not_show_a_known_change_in_time_is_dead() -> None:
    time = [0.0]
    freshness = Freshness(clock=lambda: time[0])
    freshness.expect("Pod", 12)
    freshness.saw("Pod", 11)

    time[0] = PATIENCE_SECONDS - 1
    before = freshness.is_alive
    time[0] = PATIENCE_SECONDS
    after = freshness.is_alive

    assert (before, after) == (True, False)


def test_a_watch_that_shows_the_change_or_a_newer_one_is_alive() -> None:
    time = [0.0]
    freshness = Freshness(clock=lambda: time[0])
    freshness.expect("Pod", 12)

    freshness.saw("Pod", 13)
    time[0] = 10 * PATIENCE_SECONDS

    assert freshness.is_alive


def test_a_change_that_the_watch_showed_before_we_expected_it_is_not_waited_for() -> None:
    time = [0.0]
    freshness = Freshness(clock=lambda: time[0])
    freshness.saw("Pod", 12)

    freshness.expect("Pod", 12)
    time[0] = 10 * PATIENCE_SECONDS

    assert freshness.is_alive


def test_a_live_watch_of_one_kind_does_not_excuse_the_dead_one_of_another() -> None:
    time = [0.0]
    freshness = Freshness(clock=lambda: time[0])
    freshness.expect("Job", 12)

    freshness.saw("Pod", 13)
    time[0] = 10 * PATIENCE_SECONDS

    assert not freshness.is_alive
