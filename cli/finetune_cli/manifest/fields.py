"""What the schema finds wrong with each field, in words that say what to write instead."""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from finetune_api.datasets import HOLD_OUT_PATTERN
from finetune_api.fields import DATA_KEY_PATTERN, FOLDER_PATTERN, MOUNT_PATH_PATTERN, OBJECT_NAME_PATTERN
from finetune_api.manifest import DNS_LABEL, DNS_SUBDOMAIN, NAME_START, OPEN, Schema
from finetune_api.problem import Problem
from finetune_api.quantities import QUANTITY_PATTERN
from finetune_cli.manifest.documents import join
from finetune_cli.manifest.structure import children
from finetune_cli.manifest.suggestions import suggest_field, suggest_value

_TYPES: dict[str, tuple[type | tuple[type, ...], str, str]] = {
    "object": (dict, "fields are expected", "write `name: value` lines below it"),
    "array": (list, "a list is expected", "put each item on a line of its own after `- `"),
    "string": (str, "text is expected", "put it in quotes"),
    "integer": (int, "a whole number is expected", "write a whole number without quotes"),
    "number": ((int, float), "a number is expected", "write a number without quotes"),
    "boolean": (bool, "true or false is expected", "write true or false without quotes"),
}
#: What a pattern asks for, and an example of it.
PATTERNS = {
    QUANTITY_PATTERN: ("it is no quantity", "write for example 500m, 4 or 16Gi"),
    OBJECT_NAME_PATTERN: (
        "only lower-case letters, digits and inner - and dots may be in it",
        "write for example hub-token",
    ),
    DATA_KEY_PATTERN: ("only letters, digits, dots, _ and - may be in it", "write for example token"),
    FOLDER_PATTERN: (
        "it is no folder inside the claim",
        "write for example teams/search, or . for all of it: letters, digits, dots, _ and -, no / at the ends",
    ),
    MOUNT_PATH_PATTERN: ("it is no absolute path without . and ..", "write for example /cache/models"),
    DNS_LABEL: ("only lower-case letters, digits and inner - may be in it", "write for example pages-2"),
    DNS_SUBDOMAIN: ("only lower-case letters, digits and inner - and dots may be in it", "write for example pages-2"),
    HOLD_OUT_PATTERN: (
        "it is no share of rows",
        "write a share below 100 % such as 5%, or a number of rows without quotes",
    ),
    NAME_START: ("only lower-case letters, digits, - and dots may be in it", "write for example pages-"),
}
_Check = Callable[[Any, Any], bool]
#: Keyword, whether it holds, what is wrong if it does not.
_LIMITS: list[tuple[str, _Check, str]] = [
    ("minLength", lambda value, limit: len(value) >= limit, "at least {} characters are needed"),
    ("maxLength", lambda value, limit: len(value) <= limit, "at most {} characters may be in it"),
    ("minItems", lambda value, limit: len(value) >= limit, "at least {} must be given"),
    ("maxItems", lambda value, limit: len(value) <= limit, "at most {} may be given"),
    ("minProperties", lambda value, limit: len(value) >= limit, "at least {} must be given"),
    ("maxProperties", lambda value, limit: len(value) <= limit, "at most {} may be given"),
]


def field_problems(value: Any, schema: Schema, path: str = "") -> Iterator[Problem]:  # noqa: ANN401 - JSON
    """Yield what is wrong with `value` and everything below it."""
    wrong = _type_problem(value, schema, path)
    if wrong is not None:
        yield wrong
        return
    if isinstance(value, dict):
        yield from _names(value, schema, path)
    if isinstance(value, list):
        yield from _repeated(value, schema, path)
    yield from _values(value, schema, path)
    for key, item, below in children(value, schema):
        yield from field_problems(item, below, join(path, key))


def _type_problem(value: Any, schema: Schema, path: str) -> Problem | None:  # noqa: ANN401 - JSON
    if schema.get("x-kubernetes-int-or-string"):
        usable = isinstance(value, int | str) and not isinstance(value, bool)
        return None if usable else Problem(path, value, "a whole number or text is expected", "write one of these")
    kind = schema.get("type")
    if kind is None:
        return None
    types, because, fix = _TYPES[kind]
    if isinstance(value, types) and (kind == "boolean" or not isinstance(value, bool)):
        return None
    return Problem(path, value, because, fix)


def _names(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Problem]:
    for name in schema.get("required", []):
        if name not in value:
            about = schema["properties"][name].get("description", "")
            yield Problem(join(path, name), None, "", f"add it: {_first_sentence(about)}")
    fields = schema.get("properties", {})
    if schema.get(OPEN) or "additionalProperties" in schema:
        return
    for name, item in value.items():
        if name not in fields:
            yield Problem(join(path, name), item, "there is no such field", suggest_field(name, fields))


def _repeated(items: list[Any], schema: Schema, path: str) -> Iterator[Problem]:
    if schema.get("x-kubernetes-list-type") not in ("set", "map"):
        return
    keys = schema.get("x-kubernetes-list-map-keys")
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        identity = [item.get(key) for key in keys] if keys and isinstance(item, dict) else item
        first = seen.setdefault(json.dumps(identity, sort_keys=True), index)
        if first != index:
            yield Problem(join(path, index), identity, f"{join(path, first)} is the same", "remove one of the two")


def _values(value: Any, schema: Schema, path: str) -> Iterator[Problem]:  # noqa: ANN401 - JSON
    if "enum" in schema and value not in schema["enum"]:
        yield Problem(path, value, "there is no such choice", suggest_value(value, schema["enum"]))
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        because, fix = PATTERNS[schema["pattern"]]
        yield Problem(path, value, because, fix)
    for keyword, holds, because in _LIMITS:
        if keyword in schema and not holds(value, schema[keyword]):
            fix = "write less of it" if keyword.startswith("max") else "write more of it"
            shown = value if isinstance(value, str) else len(value)
            yield Problem(path, shown, because.format(schema[keyword]), fix)
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _range(value, schema, path)


def _range(value: float, schema: Schema, path: str) -> Iterator[Problem]:
    if not math.isfinite(value):
        yield Problem(path, value, "it is no finite number", "write a number that JSON has")
        return
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum", False), schema.get("exclusiveMaximum", False)
    low = least is not None and (value < least or (above and value == least))
    high = most is not None and (value > most or (below and value == most))
    if low or high:
        parts = [f"{'above' if above else 'at least'} {least}" if least is not None else ""]
        parts += [f"{'below' if below else 'at most'} {most}" if most is not None else ""]
        wanted = " and ".join(filter(None, parts))
        yield Problem(path, value, f"it is too {'small' if low else 'large'}", f"write a number {wanted}")


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".")
