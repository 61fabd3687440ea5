"""Field types that several parts of the spec share, and the form of a CEL rule."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from finetune_api.quantities import QUANTITY_PATTERN
from finetune_api.sources import BUCKET_SOURCE, CLAIM_SOURCE, FITS_THE_HUB, HUB_SOURCE, SOURCE_FIX
from finetune_api.splits import SPLIT, SPLIT_FIX


def rule(expression: str, message: str, *, field: str = "") -> dict[str, str]:
    """Return one `x-kubernetes-validations` entry.

    Args:
        expression: that holds for a good value, `self`.
        message: what to write instead, or why not; an expression with the value in it would cost too much (ADR 15).
        field: of an object that the message is about, for example `.resources.nodes`; else the object itself.

    """
    return {"rule": expression, "message": message, **({"fieldPath": field} if field else {})}


def rules(*entries: dict[str, str]) -> dict[str, Any]:
    """Return the schema extension that carries CEL rules."""
    return {"x-kubernetes-validations": list(entries)}


def immutable(field: str) -> Any:  # noqa: ANN401 - what pydantic calls it
    """Mark a field that always has a value, for example `resources.nodes`, as one that does not change.

    Only what is trained, how many processes train it and where its files lie is; all else says how, and may change.
    The rule stands at the field: the API server runs it with every write of a status, too, and a look from the spec to
    a field costs it more than the comparison.
    """
    return Field(json_schema_extra=rules(rule("self == oldSelf", unchangeable(field))))


def unchangeable(field: str) -> str:
    """Return what is told to those who change such a field of the spec."""
    return f"spec.{field} is immutable once the job exists; create a new FinetuneJob with the change"


NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
OBJECT_NAME_PATTERN = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
DATA_KEY_PATTERN = r"^[A-Za-z0-9._-]+$"
# No part of a path is "." or "..": it stays inside. "." alone is all of it.
FOLDER_PATTERN = r"^([.]|[.]?[A-Za-z0-9_-][A-Za-z0-9._-]*(/[.]?[A-Za-z0-9_-][A-Za-z0-9._-]*)*)$"

#: Absolute, and no part of it is empty, "." or "..".
MOUNT_PATH_PATTERN = r"^(/[.]?[A-Za-z0-9_-][A-Za-z0-9._@+-]*)+$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=63)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Quantity = Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN, max_length=32)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Source = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Field(
        json_schema_extra=rules(
            rule(
                f"self.matches('^({HUB_SOURCE}|{CLAIM_SOURCE}|{BUCKET_SOURCE})$') "
                f"&& (!self.startsWith('hf://') || ({FITS_THE_HUB}))",
                SOURCE_FIX,
            )
        )
    ),
]
Split = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Field(json_schema_extra=rules(rule(f"self.matches(r'^{SPLIT}$')", SPLIT_FIX))),
]
#: Free-form arguments of a library, passed on as they are; checked by prepare, where the library is.
Arguments = Annotated[
    dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True, "maxProperties": 64})
]
