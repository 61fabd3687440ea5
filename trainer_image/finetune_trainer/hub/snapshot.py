"""One repository at one commit, fetched into a folder and compared with what the Hub lists, byte for byte."""

import hashlib
import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import RepoFile
from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

from finetune_api.reasons import Reason
from finetune_trainer.causes import causes
from finetune_trainer.data.hashes import sha256_of
from finetune_trainer.failures import RunFailure
from finetune_trainer.hub.client import Api
from finetune_trainer.hub.errors import hub_words, is_missing_repository, lacks_call, told_as_failures

Select = Callable[[list[str]], list[str]]

_WORKERS = 8
_BOOKKEEPING = ".cache"  # where hf_hub_download remembers what it fetched into a folder

_log = logging.getLogger(__name__)


def resolve_commit(api: Api, repository: str, *, revision: str, kind: str, missing: Reason) -> str:
    """Return the commit that `revision` names now; fails with `missing` if there is no such thing to be seen."""
    with told_as_failures(f"reading {kind} {repository} at {revision}"):
        try:
            commit = api.repo_info(repository, repo_type=kind, revision=revision).sha
        except Exception as error:
            if (message := _explain(error, repository, revision=revision, kind=kind)) is None:
                raise
            raise RunFailure(missing, message) from error
    if commit is None:
        raise RunFailure(Reason.HUB_UNAVAILABLE, f"the Hub names no commit for {kind} {repository} at {revision}")
    return commit


@dataclass(frozen=True)
class Pinned:
    """A repository at one commit."""

    repository: str
    kind: str
    commit: str


def fetch_snapshot(api: Api, pinned: Pinned, *, folder: Path, select: Select) -> list[str]:
    """Make `folder` hold the files of the commit that `select` picks, nothing else, and return their paths.

    What an earlier, broken attempt fetched is used if it is right. Fails with HubUnavailable if bytes do not match.
    """
    with told_as_failures(f"fetching {pinned.kind} {pinned.repository} at {pinned.commit[:12]}"):
        entries = api.list_repo_tree(pinned.repository, repo_type=pinned.kind, revision=pinned.commit, recursive=True)
        listed = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
        wanted = select(sorted(path for path in listed if _stays_inside(path)))
        with ThreadPoolExecutor(_WORKERS) as pool:
            for _ in pool.map(lambda path: _fetch_file(api, pinned, listed[path], folder), wanted):
                pass
    _remove_others(folder, set(wanted))
    return wanted


def _stays_inside(path: str) -> bool:
    parts = Path(path).parts
    return not Path(path).is_absolute() and ".." not in parts and parts[0] != _BOOKKEEPING


def _fetch_file(api: Api, pinned: Pinned, entry: RepoFile, folder: Path) -> None:
    if is_as_listed(folder / entry.path, entry):
        return
    for again in (False, True):  # a file that was cut by a full disk or a killed pod is fetched anew once
        api.hf_hub_download(
            pinned.repository,
            entry.path,
            repo_type=pinned.kind,
            revision=pinned.commit,
            local_dir=folder,
            force_download=again,
        )
        if is_as_listed(folder / entry.path, entry):
            _log.info("file fetched", extra={"repository": pinned.repository, "path": entry.path, "bytes": entry.size})
            return
    message = f"{pinned.kind} {pinned.repository}: {entry.path} came with other bytes than listed; it is tried again"
    raise RunFailure(Reason.HUB_UNAVAILABLE, message)


def is_as_listed(path: Path, entry: RepoFile) -> bool:
    """Say whether the file at `path` has the size and the hash that the Hub lists."""
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    if entry.lfs is not None:
        return sha256_of(path) == entry.lfs.sha256
    return git_blob_id(path) == entry.blob_id


def git_blob_id(path: Path) -> str:
    """Return the name that git gives to the content of the file at `path`."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _remove_others(folder: Path, wanted: set[str]) -> None:
    shutil.rmtree(folder / _BOOKKEEPING, ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


def _explain(error: Exception, repository: str, *, revision: str, kind: str) -> str | None:
    if any(isinstance(cause, GatedRepoError) for cause in causes(error)):
        return (
            f"{kind} {repository} is gated and not open to this token ({hub_words(error)}); "
            "ask for access on its page and set hub.tokenSecret"
        )
    if is_missing_repository(error):
        return (
            f"{kind} {repository} at {revision} is not found; it does not exist, or it is private "
            "and hub.tokenSecret is missing or has no access to it"
        )
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes(error)):
        return f"{kind} {repository} has no revision {revision!r}; name a branch, tag or commit that is there"
    if lacks_call(error):
        return f"{kind} {repository} at {revision} is not found: the Hub at this address does not know it"
    return None
