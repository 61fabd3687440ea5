"""The process as a whole: it starts, or it ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from finetune_operator import __main__ as program
from finetune_operator.settings import Settings
from finetune_operator.shell import runtime as module
from finetune_operator.shell.cluster import Cluster, Page
from finetune_operator.shell.kinds import POD_GROUP, Kind
from finetune_operator.shell.runtime import Runtime
from tests.listening import free_port


class StrangeCluster:
    """A cluster whose answers nobody has foreseen, after so many that are as they should be."""

    def __init__(self, *_: object, **__: object) -> None:
        self.num_good = 0

    async def pages(self, *_: object, **__: object) -> AsyncIterator[Page]:
        if self.num_good == 0:
            raise ZeroDivisionError("strange")
        self.num_good -= 1
        yield Page([], 1)

    async def has(self, _: Kind) -> bool:
        return False

    async def openapi(self, *_: object) -> dict[str, object]:
        return {}

    async def close(self) -> None:
        """Nothing is open."""


async def connect() -> None:
    """Connect to nothing."""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an operator in a strange cluster."""
    monkeypatch.setattr(module, "Cluster", StrangeCluster)
    monkeypatch.setattr(module, "connect", connect)
    return Settings(trainer_image="a", http_port=free_port())


async def test_a_start_that_fails_ends_the_process_with_an_error(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    code = await asyncio.wait_for(program.run(settings), timeout=120)

    assert code == 1
    assert "ZeroDivisionError('strange')" in [getattr(record, "error", "") for record in caplog.records]


async def test_a_start_that_failed_leaves_nothing_that_listens(settings: Settings) -> None:
    for _ in range(2):
        runtime = Runtime(settings, stop_flag=asyncio.Event())
        with pytest.raises(ZeroDivisionError):
            await runtime.start()
        await runtime.stop()


async def test_a_stop_leaves_nothing_that_waits_for_it(settings: Settings) -> None:
    stop_flag = asyncio.Event()

    await Runtime(settings, stop_flag=stop_flag).stop()

    assert stop_flag.is_set()


async def test_a_list_that_fails_in_a_way_nobody_has_foreseen_ends_the_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCHED", ())
    settings = replace(settings, resync_seconds=0.0)
    stop_flag = asyncio.Event()
    runtime = Runtime(settings, stop_flag=stop_flag)
    made: list[StrangeCluster] = []

    def a_cluster(*_: object, **__: object) -> StrangeCluster:
        made.append(StrangeCluster())
        made[0].num_good = 3
        return made[0]

    monkeypatch.setattr(module, "Cluster", a_cluster)
    await runtime.start()
    await asyncio.wait_for(stop_flag.wait(), timeout=120)

    assert (runtime.failure, runtime.illnesses()) == ("resync: strange", ["task resync ended"])
    await runtime.stop()


@pytest.mark.parametrize(
    ("wanted", "has_pod_groups", "expected"),
    [("Auto", True, "Auto"), ("Auto", False, "Never"), ("Never", True, "Never")],
)
async def test_gangs_are_scheduled_as_a_whole_where_the_api_server_can_and_the_administrator_lets_it(
    settings: Settings, *, wanted: str, has_pod_groups: bool, expected: str
) -> None:
    class Offering(StrangeCluster):
        async def has(self, kind: Kind) -> bool:
            return has_pod_groups and kind == POD_GROUP

    runtime = Runtime(replace(settings, gang_scheduling=wanted), stop_flag=asyncio.Event())

    platform = await runtime._platform(cast("Cluster", Offering()))

    assert platform == replace(settings, gang_scheduling=expected)
