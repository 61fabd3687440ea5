"""The surface towards kopf: nothing that makes it write to jobs."""

import asyncio

import kopf
import pytest

from finetune_api.contract import Role
from finetune_operator.handlers import build_kopf_settings, build_registry
from finetune_operator.settings import Settings
from finetune_operator.shell.kinds import FINETUNE_JOB, POD
from finetune_operator.shell.runtime import Runtime
from tests.operator.given import UID, manifest, raw_pod


@pytest.fixture
async def runtime() -> Runtime:
    return Runtime(Settings(trainer_image="a"), stop_flag=asyncio.Event())


async def test_kopf_handles_no_resource_so_it_keeps_no_state_and_no_watch(runtime: Runtime) -> None:
    registry = build_registry(runtime)

    handlers = [*registry._changing.get_all_handlers(), *registry._spawning.get_all_handlers()]
    handlers += registry._watching.get_all_handlers()

    assert handlers == []


def test_other_operators_finalizers_are_safe() -> None:
    assert build_kopf_settings().persistence.finalizer != kopf.OperatorSettings().persistence.finalizer


async def test_an_event_of_a_child_has_its_job_looked_at(runtime: Runtime) -> None:
    runtime.informer.on_event(POD, "ADDED", raw_pod(Role.TRAIN))
    without_job = len(runtime.queue)

    runtime.informer.on_event(FINETUNE_JOB, None, manifest())
    key, _ = await runtime.queue.get()

    assert (without_job, key) == (0, UID)


async def test_a_deleted_job_is_not_looked_at_any_more(runtime: Runtime) -> None:
    runtime.informer.on_event(FINETUNE_JOB, "ADDED", manifest())
    await runtime.queue.get()
    runtime.queue.done(UID)
    runtime.queue.retry(UID)

    runtime.informer.on_event(FINETUNE_JOB, "DELETED", manifest())

    assert (len(runtime.queue), runtime.queue._timers) == (0, {})
