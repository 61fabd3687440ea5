"""A cluster that is taken down leaves the machine as it was. The tests end the cluster, with all that is on it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import api, binaries, cgroups, cluster, kernel_settings, system_images
from tests.cluster.node import NODES

pytestmark = pytest.mark.cluster

SHIM_SOCKETS = Path("/run/containerd/s")
#: How many seconds a machine waits after a panic before it boots again: nothing else minds it.
PANIC_SECONDS = kernel_settings.FOLDER / "kernel" / "panic"


@pytest.fixture(autouse=True)
def own_cluster() -> None:
    if os.environ.get("KUBECONFIG"):
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")


@pytest.fixture
def machine_of_its_own_settings() -> Iterator[None]:
    """No cluster runs, and a kernel setting that kubelets change has a value that nobody else gives it."""
    cluster.down()
    before = PANIC_SECONDS.read_text()
    PANIC_SECONDS.write_text("17")
    yield
    PANIC_SECONDS.write_text(before)


def traces() -> set[str]:
    """Return what a cluster, or anything else, has set up on the machine; the first word of each says what it is."""
    return {
        *(f"device {path.name}" for path in Path("/sys/class/net").iterdir()),
        *(f"route {line}" for line in printed_by("ip", "-o", "route", "show", "table", "all")),
        *(f"rule {line}" for name in ("iptables-save", "ip6tables-save") for line in rules(name)),
        *(f"table {line}" for line in printed_by("nft", "list", "tables")),
        *(f"mount {line.split()[4]}" for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        *(f"group {path}" for hierarchy in cgroups._hierarchies() for path in hierarchy.glob("*/")),
        *(f"process {pid}" for pid in cgroups.pids_below(cgroups.PARENT)),
        *(f"socket {path.name}" for path in SHIM_SOCKETS.glob("*")),
        f"setting {PANIC_SECONDS.read_text().strip()}",
    }


def printed_by(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def rules(program: str) -> list[str]:
    """Return chains and rules without their counters."""
    return [line.partition(" [")[0] for line in printed_by(program) if line.startswith((":", "-A"))]


def use() -> None:
    """Have a pod run on, and kube-proxy do what it was started for."""
    image = system_images.references(binaries.folder()).busybox
    cluster.kubectl("run", "kept", "-n", "kube-system", f"--image={image}", "--command", "--", "sleep", "1000")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/kept", "-n", "kube-system", "--timeout=300s")
    api.wait_until(
        lambda: "table ip kube-proxy" in printed_by("nft", "list", "tables"), seconds=300, what="kube-proxy's table"
    )


@pytest.mark.usefixtures("machine_of_its_own_settings")
def test_a_cluster_that_was_taken_down_leaves_nothing_on_the_machine() -> None:
    before = traces()

    cluster.up()
    use()
    added = traces() - before
    cluster.down()

    kinds = {"device", "route", "rule", "table", "mount", "group", "process", "socket", "setting"}
    assert {trace.split()[0] for trace in added} == kinds
    assert traces() - before == set()


def test_kubelets_make_no_firewall_rules_which_they_would_never_remove() -> None:
    cluster.up()

    answers = [
        json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{worker.name}/proxy/configz")) for worker in NODES
    ]

    assert [answer["kubeletconfig"]["makeIPTablesUtilChains"] for answer in answers] == [False, False]
