from pathlib import Path

import pytest
import yaml

from release.chart import Chart, with_images
from release.images import Pushed
from release.notes import release_notes, section
from tests.chart.helm import CHART

OPERATOR = Pushed("registry.example/finetune-operator", "1.2.0", f"sha256:{'a' * 64}")
TRAINER = Pushed("registry.example/finetune-trainer", "1.2.0", f"sha256:{'b' * 64}")
CHANGELOG = "# Changelog\n\n## Unreleased\n\n### Added\n- B.\n\n## [1.1.0] - 2026-01-01\n\n### Fixed\n- A.\n"


def test_a_release_s_values_name_the_images_by_digest_and_nothing_else_changes() -> None:
    before = (CHART / "values.yaml").read_text()

    after = with_images(before, {"image": OPERATOR, "trainerImage": TRAINER})

    expected = yaml.safe_load(before)
    expected["image"] |= {"repository": OPERATOR.repository, "digest": OPERATOR.digest}
    expected["trainerImage"] |= {"repository": TRAINER.repository, "digest": TRAINER.digest}
    assert yaml.safe_load(after) == expected
    assert after.count("# --") == before.count("# --")


def test_values_that_name_an_image_already_are_no_release_s() -> None:
    once = with_images((CHART / "values.yaml").read_text(), {"image": OPERATOR})

    with pytest.raises(AssertionError, match="image has no empty repository"):
        with_images(once, {"image": TRAINER})


@pytest.mark.parametrize(
    ("version", "expected"), [("1.1.0", "### Fixed\n- A."), ("1.2.0", "### Added\n- B."), ("1.1", "### Added\n- B.")]
)
def test_notes_have_the_changes_of_their_version_or_those_that_are_not_released(version: str, expected: str) -> None:
    assert section(CHANGELOG, version) == expected


def test_notes_say_how_to_install_and_that_nothing_is_signed() -> None:
    chart = Chart(Path("chart.tgz"), "oci://registry.example/charts/finetune-operator", f"sha256:{'c' * 64}")

    notes = release_notes("1.2.0", changes=section(CHANGELOG, "1.2.0"), images=[OPERATOR, TRAINER], chart=chart)

    assert "helm install finetune-operator oci://registry.example/charts/finetune-operator --version 1.2.0" in notes
    assert "it is not\nsigned" in notes
    assert f"| registry.example/finetune-trainer:1.2.0 | sha256:{'b' * 64} |" in notes
    assert notes.rstrip().endswith("- B.")
