"""A given cluster is taken and given back. Last by its name: it removes the operator and Hub of the other tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.__main__ import NAMESPACE, SUMMARY
from tests.e2e.one_node import one_node
from tests.stack import jobs
from tests.stack.install import LABEL_OURS, ROOT, SYSTEM_NAMESPACE, install, uninstall
from tests.stack.kubectl import Kubectl
from tests.stack.target import IMAGE_VARIABLES, Target, find_target

pytestmark = [pytest.mark.e2e, pytest.mark.alone]


@pytest.fixture
def given(target: Target, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The project's own cluster without an operator, named by KUBECONFIG as one that is somebody's."""
    if not target.is_ours:
        pytest.skip("the operator of the project's own cluster is removed first, but KUBECONFIG names another cluster")
    kube = target.kubectl
    if kube.get("namespace", SYSTEM_NAMESPACE, namespace=SYSTEM_NAMESPACE) is not None:
        kube.run("label", "namespace", SYSTEM_NAMESPACE, f"{LABEL_OURS}=true", "--overwrite")
        uninstall(target, NAMESPACE)
    monkeypatch.setenv("KUBECONFIG", kube.kubeconfig)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(kube.program).parent), os.environ["PATH"]]))
    for name, variable in IMAGE_VARIABLES.items():
        monkeypatch.setenv(variable, target.images[name])
    return find_target()


def shared_objects(kube: Kubectl) -> list[str]:
    """Return the names of what an operator has in a cluster outside of namespaces, and of all namespaces."""
    return kube.run("get", "namespaces,crds,clusterroles,clusterrolebindings", "-o", "name").split()


def test_a_given_cluster_answers_jobs_once_it_is_taken_and_is_given_back_as_it_was(given: Target) -> None:
    kube = given.kubectl
    before = shared_objects(kube)

    install(given).namespace(NAMESPACE)
    install(given)  # repeating it changes nothing
    job = jobs.load_example("demo", namespace=NAMESPACE, suspend=True)
    kube.apply(job)
    answered = jobs.wait_until(kube, job, lambda state: "phase" in state.get("status", {}), seconds=1800)
    subprocess.run([sys.executable, "-m", "tests.demo", "down"], cwd=ROOT, check=True)

    assert answered["status"]["phase"] == "Suspended"
    assert shared_objects(kube) == before


@pytest.mark.longer
def test_the_demo_finds_one_node_without_gpus_and_shared_volumes_on_a_given_cluster_and_trains_there(
    given: Target,
) -> None:
    with one_node(given.kubectl):
        up = subprocess.run(
            [sys.executable, "-m", "tests.demo", "up"], cwd=ROOT, check=False, capture_output=True, text=True
        )
        subprocess.run([sys.executable, "-m", "tests.demo", "down"], cwd=ROOT, check=True)

    assert up.returncode == 0, up.stdout + up.stderr
    assert "No node offers nvidia.com/gpu: the job trains on CPU" in up.stdout
    assert "The default StorageClass gives no ReadWriteMany volume: the job has one node." in up.stdout
    summary = json.loads(SUMMARY.read_text())
    assert (summary["phase"], summary["worldSize"]) == ("Succeeded", 1)
    assert summary["ndcg10"] > 0.7
