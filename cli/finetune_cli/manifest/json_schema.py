"""The JSON Schema of a FinetuneJob, for editors: what the API server's schema says, in the words of the standard."""

from typing import Any

from finetune_api.types import KIND
from finetune_cli.manifest.structure import OPEN, Schema, job_schema

DIALECT = "http://json-schema.org/draft-07/schema#"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def json_schema() -> dict[str, Any]:
    """Return the schema of a manifest; rules across fields are left to `finetune validate` and the API server."""
    schema = _standard(job_schema())
    schema["properties"].pop("status")
    return {"$schema": DIALECT, "title": KIND, **schema}


def _standard(schema: Schema) -> dict[str, Any]:
    """Return a structural schema without what only Kubernetes knows; fields that it does not name are none."""
    found = {key: value for key, value in schema.items() if not key.startswith("x-") and key not in _LIMITS}
    for exclusive, limit in _LIMITS.items():
        if schema.get(exclusive):
            found[exclusive] = found.pop(limit)
    if schema.get(_INT_OR_STRING):
        found["type"] = ["integer", "string"]
    if "items" in schema:
        found["items"] = _standard(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _standard(schema["additionalProperties"])
    if "properties" in schema:
        found["properties"] = {name: _standard(below) for name, below in schema["properties"].items()}
        if not schema.get(OPEN):
            found["additionalProperties"] = False
    return found
