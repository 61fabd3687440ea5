import yaml

from tests.chart.helm import CHART, ROOT, Helm, Manifest, of_kind, only

SOURCE = ROOT / "crds" / "finetunejobs.yaml"


def test_the_crd_is_the_generated_one_and_stays_when_the_release_goes(defaults: list[Manifest]) -> None:
    expected = yaml.safe_load(SOURCE.read_text())
    expected["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}

    crd = only(defaults, "CustomResourceDefinition")

    assert crd == expected


def test_the_chart_holds_no_copy_of_the_crd() -> None:
    linked = CHART / "files" / "finetunejobs.yaml"

    assert linked.is_symlink()
    assert linked.resolve() == SOURCE
    assert not linked.readlink().is_absolute()


def test_the_crd_can_be_left_out(helm: Helm) -> None:
    manifests = helm.render({"crds": {"install": False}})

    assert of_kind(manifests, "CustomResourceDefinition") == []
