"""The chart as `make release` packages it."""

from pathlib import Path

import yaml

import finetune_api
from release.chart import package
from release.images import Pushed
from tests.chart.helm import RELEASE, Helm, only
from tests.chart.test_pods import DIGEST, operator_of

OPERATOR = Pushed("registry.example/finetune-operator", "0.1.0", DIGEST)
TRAINER = Pushed("registry.example/finetune-trainer", "0.1.0", f"sha256:{'1' * 64}")


def test_a_released_chart_needs_no_value_and_runs_the_images_that_were_pushed(helm: Helm, tmp_path: Path) -> None:
    named = {"image": OPERATOR, "trainerImage": TRAINER}

    archive = package(helm, finetune_api.__version__, named, changes="### Added\n- A.\n", folder=tmp_path)

    manifests = [one for one in yaml.safe_load_all(helm.run("template", RELEASE, archive)) if one]
    operator = operator_of(manifests)
    assert operator["image"] == f"{OPERATOR.repository}@{OPERATOR.digest}"
    assert {"name": "TRAINER_IMAGE", "value": f"{TRAINER.repository}@{TRAINER.digest}"} in operator["env"]
    assert only(manifests, "CustomResourceDefinition")["metadata"]["name"] == "finetunejobs.finetune.dev"
    described = yaml.safe_load(helm.run("show", "chart", archive))
    assert {name.partition("/")[2] for name in described["annotations"]} == {
        "license",
        "operator",
        "crds",
        "crdsExamples",
        "images",
        "changes",
    }
