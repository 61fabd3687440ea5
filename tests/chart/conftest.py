import os
import shutil
from pathlib import Path

import pytest

from tests.chart.helm import CHART, EVERYTHING, Helm, Manifest
from tests.cluster import binaries


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    folders = {f"HELM_{kind}_HOME": str(tmp_path_factory.mktemp(kind.lower())) for kind in ("CACHE", "CONFIG", "DATA")}
    return Helm(program=_find_helm(), environment={**os.environ, **folders})


def _find_helm() -> Path:
    given = os.environ.get("HELM")
    if given:
        return Path(given)
    if not binaries.folder().is_dir() and shutil.which("go") is None:
        pytest.skip("helm is missing: it is built from Go modules, and there is no Go; or name one in HELM")
    return binaries.ensure() / "helm"


@pytest.fixture(scope="session")
def defaults(helm: Helm) -> list[Manifest]:
    return helm.render()


@pytest.fixture(scope="session")
def everything(helm: Helm) -> list[Manifest]:
    return helm.render(EVERYTHING)


@pytest.fixture(scope="session")
def package(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    helm.run("package", CHART, "--destination", folder)
    (archive,) = folder.iterdir()
    return archive
