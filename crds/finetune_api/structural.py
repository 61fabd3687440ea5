"""JSON schema as pydantic writes it, made structural, as Kubernetes takes it.

References are inlined, `null` alternatives dropped, exclusive limits and unions put into Kubernetes' form.
"""

from typing import Any

#: Parts of a JSON schema that structural schemas do not have.
_DROPPED = frozenset({"title", "propertyNames"})
#: Parts whose values are data, not schemas.
_VERBATIM = frozenset({"default", "enum", "required"})
_RULES = "x-kubernetes-validations"


def structural(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a pydantic JSON schema as a Kubernetes structural schema."""
    definitions = schema.get("$defs", {})
    converted = _convert({k: v for k, v in schema.items() if k != "$defs"}, definitions)
    assert isinstance(converted, dict)
    return converted


def _convert(node: Any, definitions: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(node, list):
        return [_convert(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    return dict(_fields(_resolve(node, definitions), definitions))


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Replace a reference by what it names, and `X or null` by X: an absent field is how Kubernetes says null."""
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        own = {key: value for key, value in node.items() if key != "$ref"}
        if _RULES in own and _RULES in target:
            own[_RULES] = target[_RULES] + own[_RULES]
        return _resolve({**target, **own}, definitions)
    if "anyOf" not in node:
        return node
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    if node.get("x-kubernetes-int-or-string"):
        return rest
    (only,) = [item for item in node["anyOf"] if item.get("type") != "null"]
    return {**_resolve(only, definitions), **rest}


def _fields(node: dict[str, Any], definitions: dict[str, Any]) -> list[tuple[str, Any]]:
    fields: list[tuple[str, Any]] = []
    for key, value in node.items():
        if key in _DROPPED or (key == "additionalProperties" and isinstance(value, bool)):
            continue
        if key == "default" and value is None:
            continue
        if key == "properties":
            fields.append((key, _properties(value, set(node.get("required", ())), definitions)))
        else:
            fields += _field(key, value, definitions)
    return fields


def _properties(items: dict[str, Any], required: set[str], definitions: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _convert(item, definitions) if name in required else _property(item, definitions)
        for name, item in items.items()
    }


def _field(key: str, value: Any, definitions: dict[str, Any]) -> list[tuple[str, Any]]:  # noqa: ANN401 - JSON
    if key == "const":
        return [("enum", [value])]
    if key.startswith("exclusive"):
        return [(key.removeprefix("exclusive").lower(), value), (key, True)]
    if key == "description":
        return [(key, " ".join(value.split()))]
    if key in _VERBATIM or key.startswith("x-"):
        return [(key, value)]
    return [(key, _convert(value, definitions))]


def _property(item: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return one optional property; objects whose fields all have defaults default to {} so that those apply."""
    converted: dict[str, Any] = _convert(item, definitions)
    optional_object = converted.get("type") == "object" and "properties" in converted and not converted.get("required")
    nullable = any(option.get("type") == "null" for option in item.get("anyOf", []))
    if optional_object and not nullable and "default" not in converted:
        converted["default"] = {}
    return converted
