from pathlib import Path

import pytest

from tests.chart import program
from tests.cluster import binaries, paths


@pytest.fixture(autouse=True)
def machine_without_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HELM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(binaries, "BINARIES", tmp_path / "bin")


def test_without_go_and_without_a_helm_that_was_built_none_is_found() -> None:
    assert program.find() is None


@pytest.mark.parametrize("folder", ["", "helm-"], ids=["with Kubernetes", "alone"])
def test_a_helm_that_was_built_is_found_without_go(tmp_path: Path, folder: str) -> None:
    helm = tmp_path / "bin" / f"{folder}{binaries.folder().name}" / "helm"
    helm.parent.mkdir(parents=True)
    helm.touch()

    assert program.find() == helm


def test_a_helm_that_is_named_goes_before_one_that_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELM", "/opt/helm")

    assert program.find() == Path("/opt/helm")
