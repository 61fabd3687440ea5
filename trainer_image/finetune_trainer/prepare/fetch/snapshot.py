"""One repository at one commit, fetched into a folder and compared with what the Hub lists, byte for byte."""

import logging
import shutil
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import RepoFile
from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

from finetune_api.reasons import Reason
from finetune_trainer.hub.client import Api
from finetune_trainer.hub.errors import (
    hub_words,
    is_missing_repository,
    is_unreachable,
    lacks_call,
    status_of,
    told_as_failures,
    understood,
)
from finetune_trainer.hub.files import is_as_listed
from finetune_trainer.hub.names import is_commit_id
from finetune_trainer.workspace.causes import causes
from finetune_trainer.workspace.failures import RunFailure

Select = Callable[[list[str]], list[str]]

_WORKERS = 8
_BOOKKEEPING = ".cache"  # where hf_hub_download remembers what it fetched into a folder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A repository at a branch, tag or commit, and the reason to give where it cannot be had."""

    repository: str
    kind: str
    revision: str
    missing: Reason

    def __str__(self) -> str:
        """Return it as messages name it."""
        return f"{self.kind} {self.repository} at {self.revision}"


def resolve_commit(api: Api, wanted: Wanted) -> str:
    """Return the commit that the revision names now; fails with `missing` if there is no such thing to be seen.

    What the Hub names is asked for once more, by its own name: there are Hubs that know every revision.
    """
    with told(wanted):
        commit = _named_commit(api, wanted, wanted.revision)
        if commit is None or (commit != wanted.revision and _named_commit(api, wanted, commit) != commit):
            raise RunFailure(Reason.HUB_UNAVAILABLE, f"the Hub names no commit for {wanted}")
    if is_commit_id(wanted.revision) and commit != wanted.revision:
        raise RunFailure(wanted.missing, f"the Hub has {commit[:12]} in place of {wanted}; name a commit that is there")
    return commit


def _named_commit(api: Api, wanted: Wanted, revision: str) -> str | None:
    with understood(f"reading {wanted}"):
        named = api.repo_info(wanted.repository, repo_type=wanted.kind, revision=revision).sha
    return named if is_commit_id(named) else None


def fetch_snapshot(api: Api, pinned: Wanted, *, folder: Path, select: Select, spare: Collection[str] = ()) -> list[str]:
    """Make `folder` hold the files that `select` picks at a commit, nothing else but `spare`, and return their paths.

    What an earlier, broken attempt fetched is used if it is right. Fails with `missing` where the files of a gated
    repository are kept back, with HubUnavailable if bytes do not match.
    """
    with told(pinned):
        entries = api.list_repo_tree(pinned.repository, repo_type=pinned.kind, revision=pinned.revision, recursive=True)
        listed = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
        paths = select(sorted(path for path in listed if _stays_inside(path)))
        with ThreadPoolExecutor(_WORKERS) as pool:
            for _ in pool.map(lambda path: _fetch_file(api, pinned, listed[path], folder), paths):
                pass
    _remove_others(folder, {*paths, *spare})
    return paths


@contextmanager
def told(wanted: Wanted) -> Iterator[None]:
    """Turn what goes wrong inside with a source into RunFailure, as far as it is known what it means."""
    with told_as_failures(f"fetching {wanted}"):
        try:
            yield
        except Exception as error:
            own = isinstance(error, RunFailure) or is_unreachable(error)
            if own or (message := _explain(error, wanted)) is None:
                raise
            raise RunFailure(wanted.missing, message) from error


def _stays_inside(path: str) -> bool:
    parts = Path(path).parts
    return not Path(path).is_absolute() and ".." not in parts and parts[0] != _BOOKKEEPING


def _fetch_file(api: Api, pinned: Wanted, entry: RepoFile, folder: Path) -> None:
    if is_as_listed(folder / entry.path, entry):
        return
    for again in (False, True):  # a file that was cut by a full disk or a killed pod is fetched anew once
        api.hf_hub_download(
            pinned.repository,
            entry.path,
            repo_type=pinned.kind,
            revision=pinned.revision,
            local_dir=folder,
            force_download=again,
        )
        if is_as_listed(folder / entry.path, entry):
            _log.info("file fetched", extra={"repository": pinned.repository, "path": entry.path, "bytes": entry.size})
            return
    message = f"{pinned.kind} {pinned.repository}: {entry.path} came twice with other bytes than listed"
    raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message}; wait until the Hub has it whole")


def _remove_others(folder: Path, wanted: set[str]) -> None:
    shutil.rmtree(folder / _BOOKKEEPING, ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


def _explain(error: Exception, wanted: Wanted) -> str | None:
    if any(isinstance(cause, GatedRepoError) for cause in causes(error)):
        return (
            f"{wanted} is gated and not open to this token ({hub_words(error)}); "
            "ask for access on its page and set hub.tokenSecret"
        )
    if status_of(error) == HTTPStatus.FORBIDDEN:
        return (
            f"{wanted} may not be read with this token ({hub_words(error)}); give hub.tokenSecret the right to read it"
        )
    if is_missing_repository(error):
        return (
            f"{wanted} is not found; it does not exist, or it is private "
            "and hub.tokenSecret is missing or has no access to it"
        )
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes(error)):
        return f"{wanted.kind} {wanted.repository} has no revision {wanted.revision!r}; name one that is there"
    if lacks_call(error):
        return f"{wanted} is not found: the Hub at this address does not know it"
    return None
