"""Names a model in a bucket once all of it is there: whole or not at all, once, and beside those of others."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from obstore.exceptions import AlreadyExistsError, PreconditionError

from finetune_api.reasons import Reason
from finetune_api.sources import BucketSource, parse_source
from finetune_api.status import PublishedStatus
from finetune_api.types import Publish
from finetune_trainer.buckets.clients import SILENCE, Bucket, connect
from finetune_trainer.buckets.errors import told_as_failures
from finetune_trainer.hub.standing import occupied
from finetune_trainer.publish.bucket.models import MOST_MODELS, ModelIndex, StoredModel, read_index, replace_index
from finetune_trainer.publish.bucket.storing import Files, is_there, store
from finetune_trainer.publish.outcome import Outcome
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.settings import Settings

#: Seconds to wait before each further try.
PAUSES = (1.0, 4.0, 15.0)


@contextmanager
def connected(wanted: Publish, settings: Settings, *, silence: timedelta = SILENCE) -> Iterator[Bucket]:
    """Give the bucket that is published to, as `connect` does; what goes wrong inside is told."""
    source = parse_source(wanted.place)
    assert isinstance(source, BucketSource)
    bucket = connect(source, secret=settings.write_bucket, field="spec.publish.secretName", silence=silence)
    with told_as_failures(f"publish.bucket: {source}", bucket, refused=Reason.WRITE_FORBIDDEN):
        yield bucket


def to_bucket(
    wanted: Publish, bucket: Bucket, model: StoredModel, files: Files, *, left_out: tuple[str, ...]
) -> Outcome:
    """Store and name a model, or find that this was done before.

    Fails with PublishConflict when others keep writing, with HubUnavailable when the bucket does not keep what it is
    given, with RepositoryExists where publish.ifExists says so.
    """
    index = read_index(bucket).index
    done = named(index, model)
    if done is not None and is_there(bucket, done):
        message = f"Published before as {bucket.source}/{done.folder}."
        return Outcome(Reason.ALREADY_PUBLISHED, message, published_at(bucket, done))
    if (spared := _spared(wanted, index, model)) is not None:
        return spared
    return _name(wanted, bucket, store(bucket, model, files), left_out=left_out)


def named(index: ModelIndex, model: StoredModel) -> StoredModel | None:
    """Return what is told of this very model of this run."""
    return next((one for one in index.models if (one.run, one.commit) == (model.run, model.commit)), None)


def published_at(bucket: Bucket, model: StoredModel) -> PublishedStatus:
    """Return what status shows."""
    return PublishedStatus(repository=str(bucket.source), commit=model.commit, url=f"{bucket.source}/{model.folder}")


def _spared(wanted: Publish, index: ModelIndex, model: StoredModel) -> Outcome | None:
    """Return that a model of another run stays the newest; fails where that is to end the job."""
    if wanted.if_exists == "Update" or not index.models or index.models[0].run == model.run:
        return None
    if wanted.if_exists == "Fail":
        raise occupied(wanted, [index.models[0].folder])
    message = f"{wanted.place} holds a model already and publish.ifExists is Skip; nothing is published."
    return Outcome(Reason.PUBLISH_SKIPPED, message)


def _name(wanted: Publish, bucket: Bucket, model: StoredModel, *, left_out: tuple[str, ...]) -> Outcome:
    """Make a stored model the newest one; an answer that was lost is found by what is named then."""
    overtaken = False
    for pause in (*PAUSES, None):
        read = read_index(bucket)
        if named(read.index, model) == model:
            break
        if (spared := _spared(wanted, read.index, model)) is not None:
            return spared
        others = [one for one in read.index.models if one != named(read.index, model)]
        try:
            index = read.index.model_copy(update={"models": [model, *others][:MOST_MODELS]})
            replace_index(bucket, index, version=read.version)
            break
        except (AlreadyExistsError, PreconditionError) as error:
            overtaken = True
            if pause is None:
                message = f"publish.bucket: {bucket.source}: others keep publishing there; wait until they end"
                raise RunFailure(Reason.PUBLISH_CONFLICT, message) from error
            time.sleep(pause)
    if named(read_index(bucket).index, model) != model:
        message = f"publish.bucket: {bucket.source} answered that the model was named, and does not name it"
        raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message}; look at what its server's logs say about it")
    notes = (*left_out, *(["another model came in while publishing; this run's is the newest"] if overtaken else []))
    message = f"Published as {bucket.source}/{model.folder}."
    return Outcome(Reason.PUBLISHED, message, published_at(bucket, model), warnings=notes)
