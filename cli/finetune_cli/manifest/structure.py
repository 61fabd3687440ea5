"""The CRD's schema, walked as the API server walks it: nulls dropped, defaults filled in."""

import copy
from collections.abc import Iterator
from typing import Any

from finetune_api.manifest import Schema
from finetune_cli.manifest.documents import join


def children(value: Any, schema: Schema) -> Iterator[tuple[str | int, Any, Schema]]:  # noqa: ANN401 - JSON
    """Yield key, value and schema of everything that `schema` describes right below `value`."""
    if isinstance(value, dict):
        for key, item in value.items():
            below = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
            if isinstance(below, dict):
                yield key, item, below
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield index, item, schema["items"]


def replaced(value: Any, known: dict[str | int, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return a copy of a list or an object in which `known` stands for what was at these keys."""
    if isinstance(value, list):
        return [known.get(index, item) for index, item in enumerate(value)]
    return {**value, **known} if isinstance(value, dict) else value


def as_sent(value: Any, schema: Schema) -> Any:  # noqa: ANN401 - JSON
    """Return a copy as kubectl sends it and the API server keeps it: `2.0` as 2 for an integer, nulls dropped."""
    if isinstance(value, float) and schema.get("type") == "integer" and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        declared = schema.get("properties", {})
        value = {key: item for key, item in value.items() if item is not None or key not in declared}
    return replaced(value, {key: as_sent(item, below) for key, item, below in children(value, schema)})


def with_defaults(value: Any, schema: Schema) -> Any:  # noqa: ANN401 - JSON
    """Return a copy with every default filled in, and every number in the type that rules see."""
    if isinstance(value, int) and not isinstance(value, bool) and schema.get("type") == "number":
        return float(value)
    if isinstance(value, dict):
        fields = schema.get("properties", {}).items()
        value = {**{key: copy.deepcopy(below["default"]) for key, below in fields if "default" in below}, **value}
    return replaced(value, {key: with_defaults(item, below) for key, item, below in children(value, schema)})


def walk(value: Any, schema: Schema, path: str = "") -> Iterator[tuple[str, Any, Schema]]:  # noqa: ANN401 - JSON
    """Yield path, value and schema of `value` and of everything below it."""
    yield path, value, schema
    for key, item, below in children(value, schema):
        yield from walk(item, below, join(path, key))


def walk_schema(schema: Schema) -> Iterator[Schema]:
    """Yield `schema` and every schema below it."""
    yield schema
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for one in below:
        if isinstance(one, dict):
            yield from walk_schema(one)
