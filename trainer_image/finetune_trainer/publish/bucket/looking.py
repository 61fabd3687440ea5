"""Before anything is fetched: may these keys write to publish.bucket, and what is named there already?"""

from contextlib import suppress
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from pydantic import ValidationError

from finetune_api.reasons import Reason
from finetune_trainer.buckets.clients import Bucket
from finetune_trainer.hub.published import PublishedRun, PublishedRuns, RunRecord
from finetune_trainer.hub.standing import Standing
from finetune_trainer.publish.bucket.models import ModelIndex, StoredModel, path_of, read_index, replace_index
from finetune_trainer.publish.bucket.publishing import published_at
from finetune_trainer.publish.bucket.storing import is_there
from finetune_trainer.publish.proof import RECORD
from finetune_trainer.workspace.failures import RunFailure

#: No object has ever been this one.
_STALE = {"e_tag": '"0"', "version": "1"}


def check_writing(bucket: Bucket) -> ModelIndex:
    """Return what is named in a bucket; fails unless it may be written, and conditions are heeded there.

    The list is written as it is, and made if it is missing: the truest check there is, and what publish would do.
    """
    read = read_index(bucket)
    # Where another job comes first, writing is possible, too.
    with suppress(AlreadyExistsError, PreconditionError):
        replace_index(bucket, read.index, version=read.version)
    try:
        replace_index(bucket, read.index, version=_STALE)
    except PreconditionError:
        return read.index
    message = f"publish.bucket: the server of {bucket.source} does not heed If-Match: models could get lost"
    raise RunFailure(Reason.WRITE_FORBIDDEN, f"{message}; name a bucket of one that does")


def find_published(bucket: Bucket, index: ModelIndex, spec_hash: str) -> PublishedRuns:
    """Return the runs of a spec that are in a bucket, each believed once its files were compared."""
    found = PublishedRuns()
    newest = {model.run: model for model in reversed(index.models) if model.run.startswith(f"{spec_hash}-")}
    for run, model in newest.items():
        record = _record_of(bucket, model)
        if record is None:
            found.doubts[run] = f"{bucket.source}/{model.folder} is not what was published there, so that it is trained"
        else:
            found.runs[run] = PublishedRun(published=published_at(bucket, model), record=record)
    return found


def standing_of(index: ModelIndex) -> Standing | None:
    """Return what the newest model is, which publish.ifExists may spare."""
    return Standing(files=[index.models[0].folder], run=index.models[0].run) if index.models else None


def _record_of(bucket: Bucket, model: StoredModel) -> RunRecord | None:
    if not is_there(bucket, model):
        return None
    content: Any = obstore.get(bucket.store, path_of(bucket, model.folder, RECORD)).bytes()
    try:
        record = RunRecord.model_validate_json(bytes(content))
    except ValidationError:
        return None
    return record if record.run == model.run else None
