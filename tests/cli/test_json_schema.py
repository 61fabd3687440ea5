"""`finetune schema`: what editors are told is what the API server's schema says."""

import json
from typing import Any

import pytest

from finetune_cli.main import main
from finetune_cli.manifest.json_schema import json_schema
from finetune_cli.manifest.structure import walk_schema

#: Keywords of JSON Schema, draft 7, that this one uses.
KEYWORDS = {
    *("$schema", "title", "type", "description", "default", "enum", "pattern", "properties", "required"),
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


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
