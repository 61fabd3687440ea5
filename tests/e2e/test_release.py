"""A release as its users meet it: pushed to a registry, installed from there, and a first job on the image for CPUs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import finetune_api
from finetune_api import keys
from tests.cluster import addresses, image_pruning
from tests.e2e.conftest import NAMESPACE
from tests.e2e.one_node import one_node
from tests.stack import jobs
from tests.stack.install import HUB_NAMESPACE, RELEASE, ROOT, SYSTEM_NAMESPACE, install_chart, run_helm
from tests.stack.kubectl import Kubectl
from tests.stack.target import Target

pytestmark = [pytest.mark.e2e, pytest.mark.longer, pytest.mark.alone]
VERSION = finetune_api.__version__
VALUES = {
    "hub.endpoint": f"http://hub.{HUB_NAMESPACE}.svc",
    "trainerImage.digest": "",
    "trainerImage.tag": f"{VERSION}-cpu",
}


@pytest.fixture(scope="module")
def released() -> Path:
    """The folder that `make release` leaves."""
    for image in ("finetune-operator", "finetune-trainer"):
        for tag in (VERSION, f"{VERSION}-cpu"):
            image_pruning.note_use(f"{addresses.REGISTRY}/{image}:{tag}")
    subprocess.run([sys.executable, "-m", "release", addresses.REGISTRY], cwd=ROOT, check=True)
    return ROOT / "build" / "release" / VERSION


@pytest.fixture
def newcomers(kube: Kubectl) -> Iterator[None]:
    """The cluster with one node, without GPUs, and with volumes that one node may use; without the quickstart."""
    kube.delete(jobs.KIND, "quickstart", namespace=NAMESPACE)
    with one_node(kube):
        yield
        kube.delete(jobs.KIND, "quickstart", namespace=NAMESPACE)
        kube.run("delete", "persistentvolumeclaims", "-n", NAMESPACE, "-l", f"{keys.LABEL_JOB}=quickstart")


@pytest.fixture
def installed(released: Path, newcomers: None, kube: Kubectl, target: Target) -> Iterator[None]:
    """The operator of the release in the place of the checkout's."""
    run_helm(target, "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait")
    given = [argument for name, value in VALUES.items() for argument in ("--set-string", f"{name}={value}")]
    chart = f"oci://{addresses.REGISTRY}/charts/finetune-operator"
    where = ["--version", VERSION, "--plain-http", "--namespace", SYSTEM_NAMESPACE]
    run_helm(target, "install", RELEASE, chart, *where, *given, "--take-ownership", "--force-conflicts", "--wait")
    yield
    run_helm(target, "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait")
    install_chart(target)


def test_the_files_of_a_release_are_those_of_its_checksums(released: Path) -> None:
    names = {path.name for path in released.iterdir()}

    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=released, check=True)

    assert names == {
        f"finetune-operator-{VERSION}.tgz",
        f"finetune_operator-{VERSION}-py3-none-any.whl",
        f"finetune_operator-{VERSION}.tar.gz",
        "finetune-operator-image.cdx.json",
        "finetune-operator-package.cdx.json",
        "finetune-trainer-image.cdx.json",
        "provenance.json",
        "NOTES.md",
        "SHA256SUMS",
    }


def test_the_image_for_gpus_loads_its_libraries_on_a_node_without_one(released: Path, kube: Kubectl) -> None:
    image = f"--image={addresses.REGISTRY}/finetune-trainer:{VERSION}"
    program = "import torch, sentence_transformers; print(bool(torch.version.cuda), torch.cuda.is_available())"

    told = kube.run(
        *("run", "gpu-image", "-n", "default", image, "--restart=Never", "--rm", "--attach", "--quiet"),
        *("--pod-running-timeout=10m", "--command", "--", "python", "-c", program),
    )

    assert told == "True False\n"


def test_a_release_is_installed_from_its_registry_and_runs_the_quickstart_on_one_node_without_gpus_and_shared_volumes(
    installed: None, kube: Kubectl, tmp_path: Path
) -> None:
    operator = ["get", "deployment", RELEASE, "-n", SYSTEM_NAMESPACE]
    image = kube.run(*operator, "-o", "jsonpath={.spec.template.spec.containers[0].image}")

    kube.run("apply", "-n", NAMESPACE, "-f", str(ROOT / "examples" / "quickstart.yaml"))
    job = jobs.load_example("quickstart", namespace=NAMESPACE)
    status = jobs.wait_until_finished(kube, job, seconds=1200)["status"]
    screen = plugin(kube, "status", "quickstart")
    told = plugin(kube, "report", "quickstart", "--file", str(tmp_path / "report.html"))

    assert status["phase"] == "Succeeded", status
    assert (status["attempt"], status["restarts"]["total"], status["worldSize"]) == (1, 0, 1)
    (score,) = [entry for entry in status["evaluations"] if entry["metric"] == "ndcg@10"]
    assert score["final"] - score["baseline"] >= 0.005
    assert "published" not in status
    assert image.startswith(f"{addresses.REGISTRY}/finetune-operator@sha256:")
    assert screen.startswith(f"FinetuneJob {NAMESPACE}/quickstart   Succeeded   attempt 1\n")
    assert told == f"{NAMESPACE}/quickstart: report written to {tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").read_text().count("<polyline") == 2  # loss and score


def plugin(kube: Kubectl, *arguments: str) -> str:
    """Return what `kubectl finetune` prints, which kubectl finds on PATH."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [kube.program, "finetune", *arguments, "-n", NAMESPACE]
    done = subprocess.run(
        command, env={**kube.environment, "PATH": folders}, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout
