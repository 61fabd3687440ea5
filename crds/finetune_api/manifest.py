"""A whole manifest: spec, and what the CRD leaves to Kubernetes, which is apiVersion, kind and metadata."""

import functools
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from finetune_api.base import Contract
from finetune_api.structural import structural
from finetune_api.types import GROUP, KIND, VERSION, FinetuneJobSpec

API_VERSION = f"{GROUP}/{VERSION}"
DNS_LABEL = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"

NAME_START = r"^[a-z0-9][a-z0-9.-]*$"
#: Fields of any name and kind may be here.
OPEN = "x-kubernetes-preserve-unknown-fields"
DESCRIPTION = "A finetuning job: fetch, measure, train, measure again, publish if better."

Schema = dict[str, Any]


class Metadata(Contract):
    """The name of the job, and its namespace, labels and annotations if it has any."""

    name: Annotated[str, StringConstraints(pattern=DNS_SUBDOMAIN, max_length=253)] | None = None
    """Name of the job: lower-case letters, digits, - and dots."""
    generate_name: Annotated[str, StringConstraints(pattern=NAME_START, max_length=248)] | None = None
    """Start of a name that the API server completes."""
    namespace: Annotated[str, StringConstraints(pattern=DNS_LABEL, max_length=63)] | None = None
    """Namespace of the job: lower-case letters, digits and -."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels; values are text, so put numbers and true or false in quotes."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations; values are text, so put numbers and true or false in quotes."""
    finalizers: list[str] = Field(default_factory=list)
    """Names of finalizers."""


#: What the API server adds to an object that is read back.
SERVERS_OWN = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    "selfLink",
)


def metadata_schema() -> Schema:
    """Return the structural schema of metadata."""
    schema = structural(Metadata.model_json_schema(by_alias=True))
    for name in SERVERS_OWN:
        schema["properties"][name] = {OPEN: True}
    return schema


@functools.cache
def job_schema() -> Schema:
    """Return the structural schema of a whole FinetuneJob; status is the operator's and not looked at."""
    return {
        "type": "object",
        "description": DESCRIPTION,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string", "enum": [API_VERSION], "description": "Version of the API."},
            "kind": {"type": "string", "enum": [KIND], "description": "Kind of the object."},
            "metadata": metadata_schema(),
            "spec": spec_schema(),
            "status": {OPEN: True},
        },
    }


def spec_schema() -> Schema:
    """Return the structural schema of the spec."""
    return structural(FinetuneJobSpec.model_json_schema(by_alias=True))
