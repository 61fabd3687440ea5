import os
from pathlib import Path

import pytest

from tests.chart import program
from tests.chart.helm import CHART, EVERYTHING, Helm, Manifest


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    found = program.find()
    if found is None:
        pytest.skip(program.MISSING)
    folders = {f"HELM_{kind}_HOME": str(tmp_path_factory.mktemp(kind.lower())) for kind in ("CACHE", "CONFIG", "DATA")}
    return Helm(program=found, environment={**os.environ, **folders})


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
