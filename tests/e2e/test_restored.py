"""An etcd that is restored from a backup, under an API server and an operator that run: a control plane of its own."""

import asyncio
import json
import shutil
import sys

import pytest

from benchmarks.operator.api import MERGE, connected
from benchmarks.operator.control_plane import ADMINISTRATOR, ControlPlane, running
from benchmarks.operator.player import Player
from benchmarks.operator.process import Operator
from benchmarks.operator.scenarios import make_namespace, named
from finetune_api import keys
from finetune_operator.shell.kinds import FINETUNE_JOB

pytestmark = [pytest.mark.e2e, pytest.mark.longer]
NAMESPACE = "restored"
#: Versions that are lost with what was written after the backup; an API server that starts writes a few itself.
NUM_CHANGES = 200
PATIENCE_SECONDS = 300


async def begin(plane: ControlPlane, name: str) -> None:
    """Create a job, and wait until the operator has made the first Job of it."""
    async with connected(plane.kubeconfig(ADMINISTRATOR)) as api:
        player = Player(api, NAMESPACE)
        player.is_trained.set()
        async with player.playing():
            await player.create(named(NAMESPACE, 1, name=name))
            await player.wait_for("prepare", 1, seconds=PATIENCE_SECONDS)


async def change_often(plane: ControlPlane, name: str) -> None:
    """Change a job again and again."""
    async with connected(plane.kubeconfig(ADMINISTRATOR)) as api:
        for number in range(NUM_CHANGES):
            body = {"spec": {"ttlSecondsAfterFinished": 86400 + number}}
            await api.send("PATCH", f"{FINETUNE_JOB.path(NAMESPACE)}/{name}", body, MERGE)


def begun(plane: ControlPlane) -> set[str]:
    """Return the names of all jobs of which there is a Job."""
    found = json.loads(plane.kubectl("get", "jobs", "-n", NAMESPACE, "-o", "json"))
    return {job["metadata"]["labels"][keys.LABEL_JOB] for job in found["items"]}


async def test_an_etcd_restored_from_a_backup_ends_the_operator_and_the_next_one_goes_on_with_what_is_there() -> None:
    with running() as plane:
        operator, backup = Operator(plane, sys.executable), plane.folder / "backup"
        try:
            async with connected(plane.kubeconfig(ADMINISTRATOR)) as api:
                await make_namespace(api, NAMESPACE)
            operator.start()
            await begin(plane, "before")
            for name in ("kube-apiserver", "etcd"):
                plane.kill(name)
            shutil.copytree(plane.data, backup)
            for name in ("etcd", "kube-apiserver"):
                plane.start(name)
            await begin(plane, "lost")
            await change_often(plane, "lost-00000")

            for name in ("kube-apiserver", "etcd"):
                plane.kill(name)
            shutil.rmtree(plane.data)
            backup.rename(plane.data)
            for name in ("etcd", "kube-apiserver"):
                plane.start(name)
            assert operator.process is not None
            await asyncio.to_thread(operator.process.wait, PATIENCE_SECONDS)
            operator.start()
            await begin(plane, "after")

            assert "the cluster was restored from a backup; this process begins anew" in operator.log.read_text()
            assert begun(plane) == {"before-00000", "after-00000"}
        finally:
            operator.kill()
