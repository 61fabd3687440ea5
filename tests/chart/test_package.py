from pathlib import Path

import pytest
import yaml

import finetune_api
from tests.chart.helm import CHART, NAMESPACE, RELEASE, REQUIRED, Helm, HelmError, of_kind


def test_the_chart_passes_strict_lint(helm: Helm) -> None:
    report = helm.run("lint", "--strict", CHART, values={})

    assert "1 chart(s) linted, 0 chart(s) failed" in report


def test_the_chart_has_the_version_of_the_project() -> None:

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (finetune_api.__version__, finetune_api.__version__)


def test_the_package_renders_what_the_folder_renders(helm: Helm, package: Path) -> None:
    from_folder = helm.text()

    from_package = helm.text(chart=package)

    assert from_package == from_folder


@pytest.mark.parametrize("key", ["image", "trainerImage"])
def test_a_missing_repository_is_named(helm: Helm, key: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render({key: {"repository": ""}})

    assert f"{key}.repository: is empty" in str(refused.value)


def test_the_chart_works_as_a_dependency_of_another(helm: Helm, package: Path, tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / package.name).write_bytes(package.read_bytes())
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: parent, version: 0.1.0}")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"finetune-operator": REQUIRED, "global": {"team": "search"}}))

    rendered = helm.run("template", RELEASE, tmp_path, "--namespace", NAMESPACE)

    manifests = [document for document in yaml.safe_load_all(rendered) if document]
    assert len(of_kind(manifests, "Deployment")) == 1


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("finetune-operator", "finetune-operator"),
        ("team", "team-finetune-operator"),
        ("r" * 53, "r" * 53),
    ],
)
def test_names_begin_with_the_release_and_fit_a_label(helm: Helm, release: str, expected: str) -> None:
    rendered = helm.run("template", release, CHART, values={})

    manifests = [document for document in yaml.safe_load_all(rendered) if document]
    (deployment,) = of_kind(manifests, "Deployment")
    assert deployment["metadata"]["name"] == expected


def test_the_notes_tell_the_two_ways_to_wait(helm: Helm) -> None:
    notes = helm.run("install", RELEASE, CHART, "--dry-run=client", "--namespace", NAMESPACE, values={})

    assert "--for=condition=Finished" in notes
    assert "--for=condition=Succeeded" in notes
