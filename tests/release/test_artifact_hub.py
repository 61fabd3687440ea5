import pytest
import yaml

from release.artifact_hub import annotations, list_changes
from release.images import Pushed
from release.notes import section
from tests.stack.install import ROOT

#: https://artifacthub.io/docs/topics/annotations/helm/
KINDS = {"added", "changed", "deprecated", "removed", "fixed", "security"}


def test_artifact_hub_is_told_the_kind_an_example_of_it_the_images_and_the_changes() -> None:
    image = Pushed("registry.example/finetune-operator", "1.2.0", f"sha256:{'a' * 64}")

    told = {name: yaml.safe_load(text) for name, text in annotations([image], changes="### Added\n- B.\n").items()}

    (crd,) = told["artifacthub.io/crds"]
    (example,) = told["artifacthub.io/crdsExamples"]
    assert (crd["kind"], crd["version"], crd["name"]) == ("FinetuneJob", "v1alpha1", "finetunejobs.finetune.dev")
    assert example == yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())
    assert told["artifacthub.io/images"] == [
        {"name": "finetune-operator", "image": f"registry.example/finetune-operator:1.2.0@sha256:{'a' * 64}"}
    ]
    assert told["artifacthub.io/changes"] == [{"kind": "added", "description": "B."}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (
            "### Fixed\n- One\n  line ([docs](docs/a.md)).\n- Two.\n\n### Removed\n- Three.\n",
            [
                {"kind": "fixed", "description": "One line (docs)."},
                {"kind": "fixed", "description": "Two."},
                {"kind": "removed", "description": "Three."},
            ],
        ),
    ],
)
def test_changes_are_the_lines_of_the_changelog_without_links(text: str, expected: list[dict[str, str]]) -> None:
    assert list_changes(text) == expected


def test_the_changelog_has_kinds_that_artifact_hub_knows() -> None:
    changes = list_changes(section((ROOT / "CHANGELOG.md").read_text(), "Unreleased"))

    assert changes
    assert {change["kind"] for change in changes} <= KINDS
