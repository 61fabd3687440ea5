"""Puts a model's files into a folder of the bucket that nobody else writes other bytes to, and reads each back."""

import hashlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import obstore

from finetune_api.contract import JobIdentity
from finetune_api.reasons import Reason
from finetune_trainer.buckets.clients import Bucket
from finetune_trainer.buckets.tags import bare
from finetune_trainer.publish.bucket.models import StoredFile, StoredJob, StoredModel, content_name, path_of
from finetune_trainer.publish.proof import is_told
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import FileHash
from finetune_trainer.workspace.verify import hash_file

Files = Mapping[str, Path]

_CHUNK_BYTES = 8 * 1024 * 1024
#: Of what is sent at once: small parts, so that each is there in time by a slow link, too.
_PART_BYTES, _PARTS = 8 * 1024 * 1024, 4
#: S3 takes no more than 10,000.
_MOST_PARTS = 9000

_log = logging.getLogger(__name__)


def describe_model(files: Files, *, run: str, job: JobIdentity) -> StoredModel:
    """Return a model as it will be named; its folder is named by its content, so that equal names have equal files."""
    hashed = [StoredFile(path=name, **_hash(path)) for name, path in sorted(files.items())]
    commit = content_name([file for file in hashed if not is_told(file.path)])
    maker = StoredJob.model_validate(job.model_dump())
    return StoredModel(run=run, commit=commit, folder=f"{run}-{commit[:8]}", job=maker, files=hashed)


def part_bytes(size_bytes: int) -> int:
    """Return how large the parts of an object are that is sent in several."""
    return max(_PART_BYTES, math.ceil(size_bytes / _MOST_PARTS))


def store(bucket: Bucket, model: StoredModel, files: Files) -> StoredModel:
    """Return the model as it is in the bucket, byte for byte; what an earlier try has put there is read back alone.

    Fails with HubUnavailable if the bucket gives back something else.
    """
    folder = path_of(bucket, model.folder)
    stored = [_store_file(bucket, f"{folder}/{file.path}", file, files[file.path]) for file in model.files]
    return model.model_copy(update={"files": stored})


def is_there(bucket: Bucket, model: StoredModel) -> bool:
    """Say whether the files of a model are those that were read back; what only tells of it may be written anew."""
    folder = path_of(bucket, model.folder)
    listed = [meta for page in obstore.list(bucket.store, folder) for meta in page]
    found = {meta["path"].removeprefix(f"{folder}/"): (meta["size"], bare(meta["e_tag"])) for meta in listed}
    known = {file.path: (file.size_bytes, bare(file.e_tag)) for file in model.files}
    return all(path in found and (is_told(path) or found[path] == one) for path, one in known.items())


def _hash(path: Path) -> dict[str, str | int]:
    found = hash_file(path, relative_to=path.parent)
    return {"sha256": found.sha256, "size_bytes": found.size_bytes}


def _store_file(bucket: Bucket, name: str, file: FileHash, path: Path) -> StoredFile:
    for is_first in (True, False):
        if (there := _read_back(bucket, name, file)) is not None:
            return there
        if is_first:
            size = part_bytes(file.size_bytes)
            obstore.put(bucket.store, name, path, chunk_size=size, max_concurrency=_PARTS)
            _log.info("object written", extra={"bucket": str(bucket.source), "path": name, "bytes": file.size_bytes})
    message = f"publish.bucket: {bucket.source} answered that {file.path} was written, and gives back other bytes"
    raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message}; look at what its server's logs say about it")


def _read_back(bucket: Bucket, name: str, file: FileHash) -> StoredFile | None:
    """Return an object as it is there, None unless it has the bytes of the file."""
    try:
        answer = obstore.get(bucket.store, name)
    except FileNotFoundError:
        return None
    if answer.meta["size"] != file.size_bytes:
        return None
    digest = hashlib.sha256()
    for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
        digest.update(chunk)
    if digest.hexdigest() != file.sha256:
        return None
    e_tag = bare(answer.meta["e_tag"])
    return StoredFile(path=file.path, sha256=file.sha256, size_bytes=file.size_bytes, e_tag=e_tag)
