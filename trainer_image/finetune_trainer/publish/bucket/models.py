"""What a bucket is told of the models in it: one object beside them, which names each and is replaced as a whole.

A model counts once it is named here, and what is named is whole. Writers replace the object on condition that it is
what they have read, so that of two that publish at once both are named, and none is half there.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import obstore
from pydantic import ConfigDict, Field, ValidationError

from finetune_api.base import Contract
from finetune_api.contract import JobIdentity
from finetune_api.reasons import Reason
from finetune_trainer.buckets.clients import Bucket
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import FileHash

INDEX = "finetunejobs.json"
#: Of older ones the files stay.
MOST_MODELS = 100
#: The index outlives releases: what later ones tell stays in it when it is written anew.
_OPEN = ConfigDict(extra="allow")


class StoredFile(FileHash):
    """An object as it was read back."""

    model_config = _OPEN

    e_tag: str | None = None
    """Without quotes."""


class StoredJob(JobIdentity):
    """The job that made a model."""

    model_config = _OPEN


class StoredModel(Contract):
    """A model that is whole."""

    model_config = _OPEN

    run: str
    commit: str
    """SHA-256 over names and hashes of its files, but for those that only tell of it."""
    folder: str
    """Where its files are, below the path of the bucket."""
    job: StoredJob
    files: list[StoredFile]


class ModelIndex(Contract):
    """The object that names them."""

    model_config = _OPEN

    models: list[StoredModel] = Field(default_factory=list)
    """The newest first."""


@dataclass(frozen=True)
class ReadIndex:
    """The index, and by what it is known that it is still the same."""

    index: ModelIndex
    version: Mapping[str, Any] | None
    """None while there is none."""


def path_of(bucket: Bucket, *parts: str) -> str:
    """Return the whole path of an object below that of the bucket's source."""
    return "/".join(part for part in (bucket.source.path, *parts) if part)


def read_index(bucket: Bucket) -> ReadIndex:
    """Return what is told now; fails with WriteForbidden if something else has the index's name."""
    try:
        answer = obstore.get(bucket.store, path_of(bucket, INDEX))
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise
        return ReadIndex(ModelIndex(), None)
    try:
        index = ModelIndex.model_validate_json(bytes(answer.bytes()))
    except ValidationError as error:
        message = f"publish.bucket: {bucket.source}/{INDEX} is no list of models; name another path"
        raise RunFailure(Reason.WRITE_FORBIDDEN, message) from error
    known = {"e_tag": answer.meta["e_tag"], "version": answer.meta["version"]}
    return ReadIndex(index, {name: value for name, value in known.items() if value is not None})


def replace_index(bucket: Bucket, index: ModelIndex, *, version: Mapping[str, Any] | None) -> None:
    """Write the index, if it is still what was read; raises PreconditionError or AlreadyExistsError if it is not."""
    content = index.model_dump_json(by_alias=True, indent=1).encode()
    mode: Any = "create" if version is None else version
    obstore.put(bucket.store, path_of(bucket, INDEX), content, mode=mode, use_multipart=False)


def content_name(files: Sequence[FileHash]) -> str:
    """Return the name of a model by its content."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
