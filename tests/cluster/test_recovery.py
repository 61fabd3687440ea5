"""The cluster comes back from what machines do to it. Each test ends it or breaks it, with all that is on it."""

import json
import os

import pytest

from tests.cluster import binaries, canary, cgroups, cluster, ending, node, runtime, system_images
from tests.cluster.node import NODES

pytestmark = pytest.mark.cluster
WAIT = "--timeout=300s"


@pytest.fixture(autouse=True)
def running_cluster() -> None:
    if os.environ.get("KUBECONFIG"):
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")
    cluster.up()


def run_pods(name: str, *, command: list[str]) -> None:
    """Start a pod on each node."""
    image = system_images.references(binaries.folder()).busybox
    for worker in NODES:
        pod = canary.build_pod(worker.name, image=image)
        pod["metadata"] = {"name": f"{name}-{worker.name}", "labels": {"test": name}}
        pod["spec"]["containers"][0] |= {"command": command, "resources": {"limits": {node.GPU: 1}}}
        cluster.kubectl("create", "-n", "kube-system", "-f", "-", text=json.dumps(pod))


def wait_for(name: str, state: str) -> None:
    cluster.kubectl("wait", f"--for={state}", "pod", "-l", f"test={name}", "-n", "kube-system", WAIT)


def delete(name: str) -> None:
    cluster.kubectl("delete", "pod", "-l", f"test={name}", "-n", "kube-system", "--wait=false")


def test_after_every_process_was_killed_both_nodes_run_new_pods() -> None:
    run_pods("before", command=["sleep", "1000"])
    wait_for("before", "condition=Ready")

    ending.kill(cgroups.pids_below(cgroups.PARENT))
    cluster.up()
    run_pods("after", command=["echo", "back"])

    wait_for("after", "jsonpath={.status.phase}=Succeeded")
    delete("after")


def test_images_that_were_removed_from_a_running_node_are_brought_back() -> None:
    for worker in NODES:
        runtime.sync_images(worker.run, [], prefix=system_images.PREFIX, binaries=binaries.folder())
    left = [runtime.image_tags(worker.run, binaries.folder()) for worker in NODES]

    cluster.up()
    run_pods("brought-back", command=["echo", "back"])

    wait_for("brought-back", "jsonpath={.status.phase}=Succeeded")
    delete("brought-back")
    assert not [tag for tags in left for tag in tags if tag.startswith("finetune.test/")]


def test_a_node_whose_pods_cannot_start_gets_an_empty_image_store() -> None:
    worker = NODES[1]
    store = worker.folder / "containerd" / "io.containerd.snapshotter.v1.overlayfs" / "snapshots"
    cluster.stop_node(worker.name)
    programs = list(store.glob("*/fs/pause"))
    for program in programs:
        program.write_bytes(b"")  # as a hard end leaves what was not on the disk yet

    cluster.up()
    run_pods("renewed", command=["echo", "back"])

    wait_for("renewed", "jsonpath={.status.phase}=Succeeded")
    delete("renewed")
    assert [len(programs), [program.stat().st_size for program in store.glob("*/fs/pause")].count(0)] == [1, 0]


def test_a_kubelet_does_not_mind_how_full_the_disk_is() -> None:
    for worker in NODES:
        answer = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{worker.name}/proxy/configz"))
        minded = {name: value for name, value in answer["kubeletconfig"]["evictionHard"].items() if value != "0%"}
        assert minded == {"memory.available": "200Mi"}
