"""What stands on the branch that publish.ifExists may spare: told before training, obeyed when committing."""

from collections.abc import Sequence

from finetune_api.base import Contract
from finetune_api.reasons import Reason
from finetune_api.types import Publish
from finetune_trainer.workspace.failures import RunFailure


class Standing(Contract):
    """Files on the branch, which only the run that has put them there may replace."""

    files: list[str]
    run: str | None = None
    """What the newest commit names."""


def spare(publish: Publish, standing: Standing | None, *, run: str) -> list[str]:
    """Return the warning that the model of a run, or of any whose id begins so, will stay on its volume.

    Fails with RepositoryExists where that is to end the job.
    """
    if standing is None or (standing.run or "").startswith(run):
        return []
    if publish.if_exists == "Fail":
        raise occupied(publish, standing.files)
    text = (
        f"{publish.field}: {publish.place} holds files already ({', '.join(standing.files[:5])}) and "
        "publish.ifExists is Skip, so that the model will stay on the volume; set ifExists to Update to publish it"
    )
    return [text]


def occupied(publish: Publish, files: Sequence[str]) -> RunFailure:
    """Return that the branch holds these files, which are of others."""
    message = (
        f"{publish.field}: {publish.place} holds files already ({', '.join(files[:5])}) and "
        f"publish.ifExists is Fail; name another {publish.field} or set ifExists to Update"
    )
    return RunFailure(Reason.REPOSITORY_EXISTS, message)
