"""`finetune schema`: what editors are told is what the API server's schema says, of every example, too."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api.json_schema import FILE_NAME, MODELINE, json_schema, render
from finetune_cli.main import main
from finetune_cli.manifest.structure import walk_schema
from tests.chart.helm import Helm, HelmError
from tests.contract.test_examples import EXAMPLES, ROOT

#: Keywords of JSON Schema, draft 7, that this one uses.
KEYWORDS = {
    *(
        "$comment",
        "$schema",
        "title",
        "type",
        "description",
        "default",
        "enum",
        "const",
        "pattern",
        "properties",
        "required",
    ),
    *("items", "additionalProperties", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
}


def at(*path: str) -> dict[str, Any]:
    schema = json_schema()
    for name in path:
        schema = schema["properties"][name]
    return schema


def test_it_uses_words_of_the_standard_alone() -> None:
    assert {word for schema in walk_schema(json_schema()) for word in schema} <= KEYWORDS
    assert {type(schema.get("exclusiveMinimum", 0.0)) for schema in walk_schema(json_schema())} <= {int, float}


def test_a_name_that_is_no_field_is_wrong_but_where_a_library_takes_any() -> None:
    assert at("spec", "training")["additionalProperties"] is False
    assert "additionalProperties" not in at("spec", "training", "arguments")


def test_fields_have_their_types_limits_and_texts() -> None:
    assert at("spec", "evaluation", "every")["type"] == ["integer", "string"]
    assert at("spec", "training", "learningRate")["exclusiveMinimum"] == 0
    assert at("spec", "suspend")["type"] == "boolean"
    assert set(at()["required"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert "status" not in at()["properties"]


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart whose values are a manifest: Helm checks them by JSON Schema."""
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "manifest", "version": "1.0.0"}))
    (tmp_path / "values.schema.json").write_text(render())
    return tmp_path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_an_example_names_the_schema_and_keeps_it(path: Path, helm: Helm, chart: Path) -> None:
    first = path.read_text().partition("\n")[0]

    assert first == f"{MODELINE}{os.path.relpath(ROOT / 'crds' / FILE_NAME, path.parent)}"
    helm.run("template", chart, "--values", path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("learningRate:", "learning_rate:"), "additional properties 'learning_rate' not allowed"),
        (("kind: FinetuneJob", "kind: FinetuneJobs"), "at '/kind': value must be 'FinetuneJob'"),
        (("perDeviceTrainBatchSize: 32", "perDeviceTrainBatchSize: many"), "got string, want integer"),
        (("metadata:\n  name: quickstart\n", ""), "missing property 'metadata'"),
    ],
)
def test_what_the_api_server_refuses_editors_mark(change: tuple[str, str], told: str, helm: Helm, chart: Path) -> None:
    text = (ROOT / "examples" / "quickstart.yaml").read_text()
    file = chart / "job.yaml"
    file.write_text(text.replace(*change))

    with pytest.raises(HelmError) as refused:
        helm.run("template", chart, "--values", file)

    assert told in str(refused.value)


def test_the_file_beside_the_crd_is_the_generated_one() -> None:
    assert (ROOT / "crds" / FILE_NAME).read_text() == render()


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == render()
    assert json.loads(render()) == json_schema()
