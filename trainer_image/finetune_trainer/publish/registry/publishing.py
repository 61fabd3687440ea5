"""Tags a model once all of it is in the registry, and believes it once it was read back: whole or not at all, once."""

from finetune_api.reasons import Reason
from finetune_api.status import PublishedStatus
from finetune_api.types import Publish
from finetune_trainer.hub.standing import occupied
from finetune_trainer.publish.branch import tag_name
from finetune_trainer.publish.bucket.models import StoredModel
from finetune_trainer.publish.bucket.storing import Files
from finetune_trainer.publish.outcome import Outcome
from finetune_trainer.publish.registry.client import Artifact, Client
from finetune_trainer.publish.registry.login import read_login
from finetune_trainer.publish.registry.manifest import EMPTY, TITLE, TaggedModel, build, parse
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.settings import Settings


def connect(wanted: Publish, settings: Settings) -> Client:
    """Return a client of the repository that is published to; fails with TokenRefused if no login can be meant."""
    artifact = Artifact.parse(wanted.place)
    return Client(artifact, read_login(settings.write_bucket, artifact.host))


def to_registry(  # noqa: PLR0913 - as to_bucket, and what the annotation says
    wanted: Publish, client: Client, model: StoredModel, files: Files, *, score: str | None, left_out: tuple[str, ...]
) -> Outcome:
    """Store and tag a model, or find that this was done before.

    A tag of the run's own says that all is done, and keeps the model when the wanted tag goes to a later one.
    Fails with WriteForbidden where the tag is of somebody else, with PublishConflict where another model gets it
    meanwhile, with HubUnavailable if the registry does not keep what it is given, with RepositoryExists where
    publish.ifExists says so.
    """
    artifact, own = client.artifact, tag_name(model.run)
    there, done = find(client, artifact.tag), find_own(client, own)
    if there is not None and done is not None and done.is_of(model, artifact.tag) and is_whole(client, done):
        message = f"Published before as {artifact.at(done.digest)}."
        return Outcome(Reason.ALREADY_PUBLISHED, message, published_at(artifact, done))
    if there is not None and there.run != model.run and wanted.if_exists != "Update":
        if wanted.if_exists == "Fail":
            raise occupied(wanted, [there.digest])
        message = f"{wanted.place} holds a model already and publish.ifExists is Skip; nothing is published."
        return Outcome(Reason.PUBLISH_SKIPPED, message)
    if there is None or not there.is_of(model, artifact.tag) or not is_whole(client, there):
        there = build(model, tag=artifact.tag, score=score)
        store(client, there, files)
        tag(client, artifact.tag, there)
    tag(client, own, there)
    message = f"Published as {artifact.at(there.digest)}."
    return Outcome(Reason.PUBLISHED, message, published_at(artifact, there), warnings=left_out)


def find(client: Client, tag: str) -> TaggedModel | None:
    """Return the model that a tag names, None if there is none; fails if it names what no job of ours has made."""
    content = client.manifest(tag)
    if content is None:
        return None
    if (model := _parse(client, content)) is None:
        message = f"publish.registry: {client.artifact} is something that no FinetuneJob has published"
        raise RunFailure(Reason.WRITE_FORBIDDEN, f"{message}; name another tag or path, or remove that tag first")
    return model


def find_own(client: Client, tag: str) -> TaggedModel | None:
    """Return the model that a run's own tag names; what is none is no proof, and replaced."""
    content = client.manifest(tag)
    return None if content is None else _parse(client, content)


def is_whole(client: Client, model: TaggedModel) -> bool:
    """Say whether all that a manifest names is there."""
    return all(map(client.has, model.blobs))


def store(client: Client, model: TaggedModel, files: Files) -> None:
    """Send what is not there yet: what an earlier try has sent has the same digests."""
    contents = {(layer.annotations or {})[TITLE]: layer for layer in model.manifest.layers}
    if not client.has(model.manifest.config):
        client.store(model.manifest.config, EMPTY)
    for title, layer in contents.items():
        if not client.has(layer):
            client.store(layer, files[title])


def tag(client: Client, tag: str, model: TaggedModel) -> None:
    """Tag a model that is stored; fails unless the tag then names it, and all of it is there."""
    client.tag(tag, model.content)
    content = client.manifest(tag)
    place = f"publish.registry: {client.artifact}"
    if content is not None and content != model.content and (other := _parse(client, content)) is not None:
        message = f"{place}: the model of run {other.run} got tag {tag} meanwhile; wait until others have published"
        raise RunFailure(Reason.PUBLISH_CONFLICT, message)
    if content != model.content or not is_whole(client, model):
        message = (
            f"{place}: {client.artifact.host} answered that the model was stored with tag {tag}, and does not have"
        )
        raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message} all of it; look at what its logs say about it")


def published_at(artifact: Artifact, model: TaggedModel) -> PublishedStatus:
    """Return what status shows."""
    url = artifact.at(model.digest)
    return PublishedStatus(repository=str(artifact), commit=model.digest, tag=tag_name(model.run), url=url)


def _parse(client: Client, content: bytes) -> TaggedModel | None:
    try:
        return parse(content)
    except ValueError as error:
        raise client.nonsense("what should be a manifest") from error
