"""What is tagged: an OCI manifest with a layer for each file of the model, and annotations by which a run is known."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from finetune_api.base import Contract
from finetune_trainer.publish.bucket.models import StoredModel

MEDIA_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE: Final = "application/vnd.finetune.model.v1"
#: By it `oras pull` knows what to call a file.
TITLE = "org.opencontainers.image.title"
#: The tag that the manifest was made for.
REF_NAME = "org.opencontainers.image.ref.name"
RUN, CONTENT, JOB, SCORE = (f"dev.finetune.{name}" for name in ("run", "content", "job", "score"))

#: What artifacts without a configuration have in its place.
EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_FILE_TYPE = "application/octet-stream"
_OPEN = ConfigDict(extra="ignore")


def digest_of(content: bytes) -> str:
    """Return the name of content in a registry."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Descriptor(Contract):
    """A blob that a manifest names."""

    model_config = _OPEN

    media_type: str
    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    annotations: dict[str, str] | None = None


class Manifest(Contract):
    """A manifest of ours."""

    model_config = _OPEN

    schema_version: Literal[2] = 2
    media_type: Literal["application/vnd.oci.image.manifest.v1+json"] = MEDIA_TYPE
    artifact_type: Literal["application/vnd.finetune.model.v1"] = ARTIFACT_TYPE
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str]


@dataclass(frozen=True)
class TaggedModel:
    """A manifest as its very bytes, which its digest is of."""

    content: bytes
    manifest: Manifest = field(repr=False)

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def run(self) -> str:
        return self.manifest.annotations[RUN]

    @property
    def blobs(self) -> list[Descriptor]:
        """Return all that has to be there before the manifest is."""
        return [self.manifest.config, *self.manifest.layers]

    def is_of(self, model: StoredModel, tag: str) -> bool:
        """Say whether it is this very model of this run, made for a tag; what only tells of it may differ."""
        told = self.manifest.annotations
        return (told[RUN], told.get(CONTENT), told.get(REF_NAME)) == (model.run, model.commit, tag)


def parse(content: bytes) -> TaggedModel | None:
    """Return a manifest of ours; None if it is of somebody else. Raises ValueError if it is no manifest at all."""
    manifest = _Any.model_validate_json(content)
    if manifest.artifact_type != ARTIFACT_TYPE or RUN not in (manifest.annotations or {}):
        return None
    return TaggedModel(content, Manifest.model_validate_json(content))


def build(model: StoredModel, *, tag: str, score: str | None) -> TaggedModel:
    """Return the manifest of a model; equal models give equal bytes."""
    annotations: Mapping[str, str | None] = {
        REF_NAME: tag,
        RUN: model.run,
        CONTENT: model.commit,
        JOB: f"{model.job.namespace}/{model.job.name}",
        SCORE: score,
    }
    manifest = Manifest(
        config=Descriptor(media_type=_EMPTY_TYPE, digest=digest_of(EMPTY), size=len(EMPTY)),
        layers=[
            Descriptor(
                media_type=_FILE_TYPE,
                digest=f"sha256:{file.sha256}",
                size=file.size_bytes,
                annotations={TITLE: file.path},
            )
            for file in model.files
        ],
        annotations={name: value for name, value in annotations.items() if value is not None},
    )
    content = manifest.model_dump_json(by_alias=True, exclude_none=True).encode()
    return TaggedModel(content, manifest)


class _Any(Contract):
    """A manifest, or list of manifests, of anybody."""

    model_config = _OPEN

    schema_version: Literal[1, 2]
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None
