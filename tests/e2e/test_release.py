"""A release as its users meet it: pushed to a registry, installed from there, and a first job on the image for CPUs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import finetune_api
from tests.cluster import addresses, image_pruning
from tests.e2e.conftest import NAMESPACE
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
def installed(released: Path, kube: Kubectl, target: Target) -> Iterator[None]:
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


def test_a_release_is_installed_from_its_registry_and_runs_the_quickstart_on_the_image_for_cpus(
    installed: None, kube: Kubectl
) -> None:
    job = jobs.load_example("quickstart", namespace=NAMESPACE)
    operator = ["get", "deployment", RELEASE, "-n", SYSTEM_NAMESPACE]
    image = kube.run(*operator, "-o", "jsonpath={.spec.template.spec.containers[0].image}")

    kube.delete(jobs.KIND, "quickstart", namespace=NAMESPACE)
    kube.apply(job)
    status = jobs.wait_until_finished(kube, job, seconds=1200)["status"]
    kube.delete(jobs.KIND, "quickstart", namespace=NAMESPACE)

    assert status["phase"] == "Succeeded", status
    assert image.startswith(f"{addresses.REGISTRY}/finetune-operator@sha256:")
