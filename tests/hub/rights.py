"""Who may see and change which repository, refused in the Hub's words."""

from tests.hub.accounts import Caller
from tests.hub.errors import forbidden, gated, login_required, repository_not_found
from tests.hub.history import Kind, Repository
from tests.hub.store import Store


def readable(store: Store, kind: Kind, repo_id: str, caller: Caller | None) -> Repository:
    """Return a repository that the caller may know of; one they may not looks exactly like one that is missing."""
    repository = store.find(kind, repo_id)
    if repository is None or (repository.is_private and not _may_read_private(repository, caller)):
        raise login_required() if caller is None else repository_not_found()
    return repository


def check_download(repository: Repository, caller: Caller | None) -> None:
    """Refuse the files of a gated repository to whoever was not let in."""
    if not repository.gated:
        return
    if caller is None:
        raise gated(repository.id, status=401)
    if not caller.user.is_in(repository.owner) and caller.user.name not in repository.granted:
        raise gated(repository.id)


def writable(store: Store, kind: Kind, repo_id: str, caller: Caller | None) -> Repository:
    """Return a repository that the caller may change."""
    repository = readable(store, kind, repo_id, caller)
    if caller is None:
        raise login_required()
    if not caller.user.may_write_in(repository.owner):
        raise forbidden("Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
    if not caller.token.may_write(kind, repository.id):
        raise forbidden("Forbidden: you must use a write token to upload to a repository.")
    return repository


def check_create(caller: Caller | None, kind: Kind, owner: str, name: str) -> Caller:
    """Return the caller if they may create this repository."""
    if caller is None:
        raise login_required()
    if not caller.user.may_create_in(owner) or not caller.token.may_write(kind, f"{owner}/{name}"):
        raise forbidden(f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
    return caller


def _may_read_private(repository: Repository, caller: Caller | None) -> bool:
    return (
        caller is not None
        and caller.user.is_in(repository.owner)
        and caller.token.may_read(repository.kind, repository.id)
    )
