import json
import re
import shlex
from pathlib import Path

import pytest

from tests.chart.helm import CHART, ROOT, Helm
from tests.chart.test_values import schema_paths
from tests.chart.values_table import PAGE, README, page_with_table, readme, settings


def test_the_table_of_values_is_fresh() -> None:
    page = PAGE.read_text()

    assert page == page_with_table(page)


def test_the_readme_of_the_chart_is_fresh_and_a_part_of_its_package(helm: Helm, package: Path) -> None:
    assert README.read_text() == readme()
    assert helm.run("show", "readme", package).strip() == readme().strip()


def test_every_value_is_described() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    described = {setting.path for setting in settings()}

    assert described == set(schema_paths(schema)) - {"global"}


@pytest.mark.parametrize("page", ["README.md", "docs/chart.md"])
def test_the_documented_installation_needs_no_other_value(helm: Helm, page: str) -> None:
    joined = (ROOT / page).read_text().replace("\\\n", " ")
    (command,) = re.findall(r"^helm install .*", joined, flags=re.MULTILINE)

    _, _, *arguments = shlex.split(command)
    rendered = helm.run("template", *arguments)

    assert "registry.example/finetune-operator" in rendered
    assert "registry.example/finetune-trainer" in rendered
