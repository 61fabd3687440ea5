"""Before anything is fetched: may this login write to publish.registry, and what has the tag already?"""

from pydantic import ValidationError

from finetune_trainer.hub.published import PublishedRun, PublishedRuns, RunRecord
from finetune_trainer.hub.standing import Standing
from finetune_trainer.publish.branch import tag_name
from finetune_trainer.publish.proof import RECORD
from finetune_trainer.publish.published import MOST_RUNS
from finetune_trainer.publish.registry.client import Client
from finetune_trainer.publish.registry.manifest import REF_NAME, TITLE, TaggedModel, digest_of
from finetune_trainer.publish.registry.publishing import find_own, is_whole, published_at


def find_published(client: Client, spec_hash: str) -> PublishedRuns:
    """Return the runs of a spec that were published with this tag, each believed once all of it was found."""
    found = PublishedRuns()
    start = tag_name(f"{spec_hash}-")
    for tag in [tag for tag in client.tags() if tag.startswith(start)][-MOST_RUNS:]:
        model = find_own(client, tag)
        if model is not None and model.manifest.annotations.get(REF_NAME) != client.artifact.tag:
            continue
        run = tag.removeprefix(tag_name(""))
        record = None if model is None else _record_of(client, model)
        if model is None or record is None or not record.run == model.run == run:
            found.doubts[run] = f"tag {tag} beside {client.artifact} is not what was published, so that it is trained"
        else:
            found.runs[run] = PublishedRun(published=published_at(client.artifact, model), record=record)
    return found


def standing_of(model: TaggedModel | None) -> Standing | None:
    """Return what has the tag, which publish.ifExists may spare."""
    return None if model is None else Standing(files=[model.digest], run=model.run)


def _record_of(client: Client, model: TaggedModel) -> RunRecord | None:
    layer = next((one for one in model.manifest.layers if (one.annotations or {}).get(TITLE) == RECORD), None)
    if layer is None or not is_whole(client, model):
        return None
    content = client.read(layer)
    if digest_of(content) != layer.digest:
        return None
    try:
        return RunRecord.model_validate_json(content)
    except ValidationError:
        return None
