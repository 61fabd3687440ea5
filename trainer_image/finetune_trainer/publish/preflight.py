"""Before anything is fetched: may what is mounted write to the target, and does what is there fit ifExists?

It also finds which runs of the spec are published already, for prepare.
"""

import logging

from finetune_api.contract import Role, RunConfig, RunResult
from finetune_api.reasons import Reason
from finetune_api.types import Publish
from finetune_trainer.hub.client import Api, connect
from finetune_trainer.hub.errors import told_as_failures
from finetune_trainer.hub.published import PublishedRuns
from finetune_trainer.hub.standing import Standing, spare
from finetune_trainer.publish.access import Access, check_repository, check_token
from finetune_trainer.publish.branch import Target
from finetune_trainer.publish.bucket import looking
from finetune_trainer.publish.bucket.publishing import connected
from finetune_trainer.publish.published import find_published
from finetune_trainer.publish.standing import find_standing
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.settings import Settings, read_token

_log = logging.getLogger(__name__)


def preflight(config: RunConfig, settings: Settings) -> RunResult:
    """Return that publishing can work; creates the repository if it is missing.

    Raises:
        RunFailure: TokenRefused, WriteForbidden, RepositoryExists or HubUnavailable.

    """
    publish = config.spec.publish
    if publish is None:
        return RunResult(role=Role.PREFLIGHT, reason=Reason.VALIDATED, message="Nothing is to be published.")
    if publish.registry is not None:
        return _of_registry(config, publish, settings)
    if publish.repository is None:
        return _of_bucket(config, publish, settings)
    api = connect(settings.hub_endpoint, token=require_write_token(settings))
    access, found = Access(), PublishedRuns()
    check_access(api, publish.repository, publish, access)
    if not access.created:
        target = Target(api, publish.repository, publish.branch)
        with told_as_failures(f"publish.repository: reading {publish.repository}"):
            if not config.trains_anyway:
                found = find_published(target, config.spec_hash)
            if publish.if_exists != "Update":
                found = found.model_copy(update={"standing": find_standing(target)})
        if not found.runs:
            access.warnings += spare(publish, found.standing, run=config.spec_hash)
    found.write(settings.published_runs)
    verb = "created" if access.created else "there"
    message = f"The token may write to {publish.repository}, which is {verb}."
    return RunResult(role=Role.PREFLIGHT, reason=Reason.VALIDATED, message=message, warnings=access.warnings)


def _of_bucket(config: RunConfig, publish: Publish, settings: Settings) -> RunResult:
    found = PublishedRuns()
    with connected(publish, settings) as bucket:
        index = looking.check_writing(bucket)
        if not config.trains_anyway:
            found = looking.find_published(bucket, index, config.spec_hash)
    return _found(config, publish, settings, found, looking.standing_of(index))


def _of_registry(config: RunConfig, publish: Publish, settings: Settings) -> RunResult:
    from finetune_trainer.publish.registry import looking, publishing  # noqa: PLC0415 - its client takes a second

    client, found = publishing.connect(publish, settings), PublishedRuns()
    standing = publishing.find(client, client.artifact.tag)
    client.check_writing()
    if standing is not None and not config.trains_anyway:
        found = looking.find_published(client, config.spec_hash)
    return _found(config, publish, settings, found, looking.standing_of(standing))


def _found(
    config: RunConfig, publish: Publish, settings: Settings, found: PublishedRuns, standing: Standing | None
) -> RunResult:
    """Hand over what is there, and return that the target may be written."""
    if publish.if_exists != "Update":
        found = found.model_copy(update={"standing": standing})
    warnings = [] if found.runs else spare(publish, found.standing, run=config.spec_hash)
    found.write(settings.published_runs)
    whose = "login" if publish.registry else "keys"
    message = f"The {whose} may write to {publish.place}."
    return RunResult(role=Role.PREFLIGHT, reason=Reason.VALIDATED, message=message, warnings=warnings)


def check_access(api: Api, repository: str, publish: Publish, access: Access) -> None:
    """Fail if the token may not write to the repository; there are Hubs whose whoami refuses a token that may."""
    refusal = check_token(api, access)
    try:
        check_repository(api, repository, private=publish.private, access=access)
    except RunFailure as failure:
        if refusal is None or failure.reason is Reason.HUB_UNAVAILABLE:
            raise
        raise refusal from failure
    if refusal is not None:
        access.warnings.append(f"{repository} may be written with this token all the same: {refusal.message}")


def require_write_token(settings: Settings) -> str:
    """Return the write token; fails with TokenRefused if none is mounted or the file is empty."""
    token = read_token(settings.write_token_file)
    if token is None:
        message = "publish.tokenSecret: the key of the Secret is empty; put a write token of the Hub into it"
        raise RunFailure(Reason.TOKEN_REFUSED, message)
    return token
