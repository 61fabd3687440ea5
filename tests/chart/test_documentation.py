import json

from tests.chart.helm import CHART
from tests.chart.test_values import schema_paths
from tests.chart.values_table import PAGE, page_with_table, settings


def test_the_table_of_values_is_fresh() -> None:
    page = PAGE.read_text()

    assert page == page_with_table(page)


def test_every_value_is_described() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    described = {setting.path for setting in settings()}

    assert described == set(schema_paths(schema)) - {"global"}
