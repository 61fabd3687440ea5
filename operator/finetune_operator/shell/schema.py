"""Whether the CRD in the cluster has every field that this operator knows.

An older one prunes what it does not know in silence: from statuses, so that decisions forget what they wrote, and from
specs, so that what a user asked for does not happen. Helm upgrades the CRD with the operator, other ways of installing
may not.
"""

import logging
from collections.abc import Iterator
from typing import Any

from finetune_api.crd import build_crd
from finetune_api.types import GROUP, KIND, VERSION
from finetune_operator.shell.cluster import Cluster
from finetune_operator.shell.wire import ApiError

logger = logging.getLogger(__name__)
MAX_NAMED = 20
Schema = dict[str, Any]


class SchemaCheck:
    """What is missing, as of the last look."""

    def __init__(self) -> None:
        self.missing: list[str] = []

    async def look(self, cluster: Cluster) -> None:
        """Compare, and say what has changed since the last time; a look that fails changes nothing."""
        try:
            served = find_schema(await cluster.openapi(GROUP, VERSION))
        except ApiError as error:
            logger.warning("the schema of the CRD cannot be read", extra={"error": str(error)})
            return
        missing = sorted(missing_fields(_wanted(), served))
        if missing and missing != self.missing:
            text = "the CRD is older than the operator and drops fields; apply the CRD of this release"
            logger.error(text, extra={"fields": missing[:MAX_NAMED], "number": len(missing)})
        elif self.missing and not missing:
            logger.info("the CRD has all fields now")
        self.missing = missing


def find_schema(document: Schema) -> Schema:
    """Return the schema of FinetuneJobs in an OpenAPI document; an empty one if it has none."""
    wanted = {"group": GROUP, "kind": KIND, "version": VERSION}
    schemas = (document.get("components") or {}).get("schemas") or {}
    return next((found for found in schemas.values() if wanted in found.get("x-kubernetes-group-version-kind", ())), {})


def missing_fields(wanted: Schema, served: Schema, path: str = "") -> Iterator[str]:
    """Yield the paths of the fields that `wanted` has and `served` drops; not what is below them."""
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, schema in (wanted.get("properties") or {}).items():
        field = f"{path}.{name}" if path else name
        found = (served.get("properties") or {}).get(name)
        if found is None:
            yield field
        else:
            yield from missing_fields(schema, found, field)
    for part in ("items", "additionalProperties"):
        if isinstance(wanted.get(part), dict) and isinstance(served.get(part), dict):
            yield from missing_fields(wanted[part], served[part], f"{path}[]")


def _wanted() -> Schema:
    (version,) = build_crd()["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return {"properties": {part: schema["properties"][part] for part in ("spec", "status")}}
