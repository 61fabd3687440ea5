"""What is known of the library without the library: a committed file, and how values are held against it."""

from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from finetune_trainer.recipe.arguments.json_types import ANYTHING, refusal, schema_of
from finetune_trainer.recipe.arguments.signatures import FILE, committed


class Places(Enum):
    TOP = "top"
    END = "end"


def test_the_committed_file_is_what_the_installed_library_takes() -> None:
    from finetune_trainer.prepare.checks.signing import installed

    assert FILE.read_text(encoding="utf-8") == installed().render(), "run `make generate`"


def test_a_default_is_told_the_same_on_every_machine() -> None:
    assert " at 0x" not in FILE.read_text(encoding="utf-8")


def test_every_loss_argument_of_the_library_has_a_type() -> None:
    """Anything would be let through by `finetune validate` and found by prepare."""
    untyped = [
        f"{name}.{argument}"
        for losses in committed().losses.values()
        for name, signature in losses.items()
        for argument, one in signature.items()
        if one.takes == ANYTHING
    ]

    assert untyped == []


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (float, {"type": "number"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Annotated[int, Field(ge=1)] | None, {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}),
        (tuple[Literal["a", "b"], ...], {"type": "array", "items": {"enum": ["a", "b"]}}),
        (Places | str, {"enum": ["top", "end"]}),
        (dict[str, Any] | str, {"anyOf": [{"type": "object"}, {"type": "string"}]}),
        (float | object, ANYTHING),
    ],
    ids=str,
)
def test_types_become_plain_data(hint: Any, schema: dict[str, Any]) -> None:  # noqa: ANN401 - any type
    assert schema_of(hint) == schema


@pytest.mark.parametrize(
    ("value", "schema", "because"),
    [
        (2, {"type": "number"}, None),
        (True, {"type": "integer"}, "it is of a wrong kind or size: input should be a valid integer"),
        ("2", {"type": "number"}, "it is of a wrong kind or size: input should be a valid number"),
        (None, {"type": "string"}, "it is of a wrong kind or size: input should be a valid string"),
        (None, {"enum": ["mean", None]}, None),
        ("maen", {"enum": ["mean", "sum"]}, "there is no such name; did you mean mean?"),
        (["a", "c"], {"type": "array", "items": {"enum": ["a", "b"]}},
         "it is of a wrong kind or size: input should be 'a' or 'b'"),
        ({"a": 1}, {"anyOf": [{"type": "object"}, {"type": "null"}]}, None),
        (object, ANYTHING, None),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_held_against_them(value: Any, schema: dict[str, Any], because: str | None) -> None:  # noqa: ANN401
    if schema == ANYTHING:
        value = {"whatever": [1, "x"]}

    assert refusal(value, schema) == because
