"""Whether a token may write to a repository, found out without leaving a trace in one that is there."""

import logging
from dataclasses import dataclass, field
from http import HTTPStatus

from huggingface_hub import ModelInfo
from huggingface_hub.errors import HfHubHTTPError

from finetune_api.reasons import Reason
from finetune_trainer.hub.client import Api
from finetune_trainer.hub.errors import (
    hub_words,
    is_missing_repository,
    lacks_call,
    status_of,
    told_as_failures,
    understood,
)
from finetune_trainer.workspace.failures import RunFailure

#: What the Hub itself puts into a new repository.
INITIAL_FILES = frozenset({".gitattributes"})

_log = logging.getLogger(__name__)


@dataclass
class Access:
    """What was found out about token and repository."""

    user: str | None = None
    created: bool = False
    warnings: list[str] = field(default_factory=list)


def check_token(api: Api, access: Access) -> RunFailure | None:
    """Note whose the token is; fails with WriteForbidden if it can only read.

    Returns TokenRefused or WriteForbidden where the Hub will not say whose it is: what the token may do is up to the
    repository.
    """
    try:
        with told_as_failures("publish.tokenSecret: checking the token"), understood("checking the token"):
            identity = api.whoami()
            user, token = identity.get("name"), (identity.get("auth") or {}).get("accessToken") or {}
            access.user, role = user, token.get("role")
    except RunFailure as failure:
        if failure.reason is Reason.HUB_UNAVAILABLE:
            raise
        return failure
    except HfHubHTTPError as error:
        if not lacks_call(error):
            raise
        access.warnings.append("the Hub has no whoami call: the token is checked by creating the repository alone")
        return None
    if role == "read":
        message = f"publish.tokenSecret: the token of {access.user} can only read; make a token with write access"
        raise RunFailure(Reason.WRITE_FORBIDDEN, message)
    return None


def check_repository(api: Api, repository: str, *, private: bool, access: Access) -> None:
    """Fail with WriteForbidden unless the token may write to `repository`; creates it if it is missing.

    Creating is the truest check there is, and what publish would do anyway. In a repository that is there the Hub is
    asked whether the token may write; a Hub without that call is asked how it would store a file of no bytes, a
    question which only those who may write are answered and which changes nothing.
    """
    with told_as_failures(f"publish.repository: {repository}"):
        if find(api, repository) is None:
            _create(api, repository, private=private, access=access)
            return
        try:
            api.auth_check(repository, write=True)
        except HfHubHTTPError as error:
            if not lacks_call(error):
                if failure := _forbidden(api, repository, access, error):
                    raise failure from error
                raise
            _ask_how_to_upload(api, repository, access)


def find(api: Api, repository: str) -> ModelInfo | None:
    """Return what the Hub says of the repository, None if it is not there for this token."""
    try:
        with understood(f"reading {repository}"):
            return api.model_info(repository)
    except HfHubHTTPError as error:
        if is_missing_repository(error) or lacks_call(error):
            return None
        raise


def _create(api: Api, repository: str, *, private: bool, access: Access) -> None:
    try:
        with understood(f"creating {repository}"):
            api.create_repo(repository, repo_type="model", private=private, exist_ok=True)
    except HfHubHTTPError as error:
        if lacks_call(error):
            access.warnings.append(f"the Hub cannot create repositories: {repository} must be there before publishing")
            return
        if failure := _forbidden(api, repository, access, error):
            raise failure from error
        raise
    if (made := find(api, repository)) is None:
        message = f"publish.repository: the Hub answered that {repository} was created, and it is not there"
        raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message}; look at what the Hub's logs say about it")
    if private and made.private is False:
        access.warnings.append(
            f"publish.private is true, and the Hub shows {repository} to everybody; make it private there, or delete it"
        )
    access.created = True
    _log.info("repository created", extra={"repository": repository, "private": private})


def _ask_how_to_upload(api: Api, repository: str, access: Access) -> None:
    from huggingface_hub import CommitOperationAdd  # noqa: PLC0415 - only Hubs without auth-check come here

    probe = CommitOperationAdd(path_in_repo="write-check.txt", path_or_fileobj=b"-")
    try:
        with understood(f"asking how to upload to {repository}"):
            api.preupload_lfs_files(repository, additions=[probe])
    except HfHubHTTPError as error:
        if failure := _forbidden(api, repository, access, error):
            raise failure from error
        raise


def _forbidden(api: Api, repository: str, access: Access, error: HfHubHTTPError) -> RunFailure | None:
    if status_of(error) != HTTPStatus.FORBIDDEN and not is_missing_repository(error):
        return None
    whose = f"the token of {access.user}" if access.user else "the token"
    message = (
        f"publish.repository: {repository} on {api.endpoint} cannot be written with {whose} ({hub_words(error)}); "
        "use a token with write access to it, or a repository of your own"
    )
    return RunFailure(Reason.WRITE_FORBIDDEN, message)
