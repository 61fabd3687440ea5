"""What JSON may stand where a library takes an argument: types of Python as JSON schemas, and values held against them.

The schemas are few and plain, so that a file can hold them and nothing of the library is needed to read it.
"""

import functools
import json
import operator
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

from annotated_types import Ge
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from finetune_trainer.recipe.arguments.near import did_you_mean

Schema = Mapping[str, Any]
#: Of what no schema can tell, for example a function: any value is left to the library.
ANYTHING: Schema = {}
_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", types.NoneType: "null", dict: "object"}
_TYPES = {
    "boolean": bool,
    "integer": int,
    "number": float,
    "string": str,
    "null": None,
    "object": dict[str, Any],
}


def schema_of(hint: Any, *, least: float | None = None) -> Schema:  # noqa: ANN401 - any type
    """Return what JSON `hint` takes; numbers must be `least` or more."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return schema_of(inner[0], least=_least(inner[1:]))
    if origin in (Union, types.UnionType):
        return _any_of([schema_of(one, least=least) for one in inner])
    if origin in (list, tuple) and inner:
        return {"type": "array", "items": schema_of(inner[0])}
    if is_typeddict(hint) or origin in (dict, Mapping):
        return {"type": "object"}
    return _choices(hint) or _plain(hint, least=least)


def _least(limits: Sequence[object]) -> float | None:
    found = [one for field in limits if isinstance(field, FieldInfo) for one in field.metadata if isinstance(one, Ge)]
    return float(str(found[0].ge)) if found else None


def _choices(hint: Any) -> Schema | None:  # noqa: ANN401 - any type
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [one.value for one in hint]}
    return None


def _plain(hint: Any, *, least: float | None) -> Schema:  # noqa: ANN401 - any type
    if hint not in _PLAIN:
        return ANYTHING
    limit = {} if least is None or hint not in (int, float) else {"minimum": hint(least)}
    return {"type": _PLAIN[hint], **limit}


def _any_of(schemas: list[Schema]) -> Schema:
    """Return what takes any of these. Of the names of an enumeration beside text, only the names."""
    if ANYTHING in schemas:
        return ANYTHING
    if any("enum" in one for one in schemas):
        schemas = [one for one in schemas if one != {"type": "string"}]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def names(known: Iterable[str | None]) -> Schema:
    """Return what takes these names; None among them stands for null."""
    return {"enum": list(known)}


def refusal(value: Any, schema: Schema) -> str | None:  # noqa: ANN401 - JSON
    """Return why `value` does not fit, None if it does; after a semicolon what to do, where that is clear."""
    if "enum" in schema:
        choices = [one for one in schema["enum"] if one is not None]
        if value in schema["enum"]:
            return None
        longer = [one for one in choices if one.startswith(str(value))]
        return f"there is no such name; {did_you_mean(str(value), longer or choices)}"
    try:
        _adapter(json.dumps(schema)).validate_json(json.dumps(value))
    except ValidationError as error:
        return f"it is of a wrong kind or size: {error.errors(include_url=False)[0]['msg'].lower()}"
    return None


@functools.cache
def _adapter(schema: str) -> TypeAdapter[Any]:
    return TypeAdapter(_type_of(json.loads(schema)), config=ConfigDict(strict=True))


def _type_of(schema: Schema) -> Any:  # noqa: ANN401 - any type
    if "anyOf" in schema:
        return functools.reduce(operator.or_, [_type_of(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    if schema.get("type") == "array":
        return list[_type_of(schema["items"])]  # type: ignore[misc] # made of data
    if "minimum" in schema:
        return Annotated[_TYPES[schema["type"]], Field(ge=schema["minimum"])]
    return _TYPES[schema["type"]] if "type" in schema else Any
