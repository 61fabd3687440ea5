"""Before anything is fetched: may this token write to publish.repository, and does what is there fit ifExists?"""

import logging

from finetune_api.contract import Role, RunConfig, RunResult
from finetune_api.reasons import Reason
from finetune_api.types import Publish
from finetune_trainer.failures import RunFailure
from finetune_trainer.hub.access import INITIAL_FILES, Access, check_repository, check_token
from finetune_trainer.hub.branch import Target, tag_name
from finetune_trainer.hub.client import Api, connect
from finetune_trainer.hub.errors import told_as_failures
from finetune_trainer.settings import Settings, read_token

_log = logging.getLogger(__name__)


def preflight(config: RunConfig, settings: Settings) -> RunResult:
    """Return that publishing can work; creates the repository if it is missing.

    Raises:
        RunFailure: TokenRefused, WriteForbidden, RepositoryExists or HubUnavailable.

    """
    publish = config.spec.publish
    if publish is None:
        return RunResult(role=Role.PREFLIGHT, reason=Reason.VALIDATED, message="Nothing is to be published.")
    api = connect(settings.hub_endpoint, token=require_write_token(settings))
    access = Access()
    check_token(api, access)
    check_repository(api, publish.repository, private=publish.private, access=access)
    if publish.if_exists == "Fail" and not access.created:
        refuse_filled(api, publish, spec_hash=config.spec_hash)
    verb = "created" if access.created else "there"
    message = f"The token may write to {publish.repository}, which is {verb}."
    return RunResult(role=Role.PREFLIGHT, reason=Reason.VALIDATED, message=message, warnings=access.warnings)


def require_write_token(settings: Settings) -> str:
    """Return the write token; fails with TokenRefused if none is mounted or the file is empty."""
    token = read_token(settings.write_token_file)
    if token is None:
        message = "publish.tokenSecret: the key of the Secret is empty; put a write token of the Hub into it"
        raise RunFailure(Reason.TOKEN_REFUSED, message)
    return token


def refuse_filled(api: Api, publish: Publish, *, spec_hash: str) -> None:
    """Fail with RepositoryExists if the branch holds files that are not of this run."""
    target = Target(api, publish.repository, publish.branch)
    with told_as_failures(f"publish.repository: reading {publish.repository}"):
        head = target.head()
        files = set(target.files(head)) - INITIAL_FILES if head else set()
        if not files or target.tagged(tag_name(spec_hash)) or target.find_commit(spec_hash):
            return
    message = (
        f"publish.repository: {publish.repository} holds files already ({', '.join(sorted(files)[:5])}) and "
        "publish.ifExists is Fail; choose another repository or set ifExists to Update"
    )
    raise RunFailure(Reason.REPOSITORY_EXISTS, message)
