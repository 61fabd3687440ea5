"""One atomic commit that makes a branch hold exactly one model, however often an answer is lost on the way."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from finetune_api.reasons import Reason
from finetune_trainer.failures import RunFailure
from finetune_trainer.hub.branch import Target
from finetune_trainer.hub.errors import asked_wait_seconds, hub_words, is_unreachable, status_of
from finetune_trainer.hub.snapshot import is_as_listed

#: Files of the repository that a new model does not replace.
KEPT = frozenset({".gitattributes", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.md", "NOTICE.txt"})
#: Seconds to wait before each further try.
PAUSES = (1.0, 4.0, 15.0)
#: Longest wait that the Hub may ask for; after a longer one the publish container is started anew.
MOST_PAUSE_SECONDS = 300.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What the branch is to hold, and the words of the commit."""

    files: Mapping[str, Path]
    """Path in the repository to local file."""
    title: str
    description: str
    spec_hash: str


@dataclass(frozen=True)
class Committed:
    """The commit and what it took away."""

    commit: str
    removed: Sequence[str] = ()
    overtaken: int = 0
    """How often another commit came first."""


def commit_files(target: Target, change: Change) -> Committed:
    """Make `change` the newest commit of the branch and return it.

    The head that was read must still be the head (412 otherwise). After any error the branch is searched for a commit
    of this run before another is sent: the answer may have been lost, not the commit. Fails with PublishConflict when
    others keep committing, with HubUnavailable when no answer comes. Where the Hub says when it will take requests
    again, it is waited for so long, within a bound.
    """
    overtaken = 0
    for pause in (*PAUSES, None):
        try:
            sent = _send(target, change)
            return Committed(sent.commit, sent.removed, overtaken)
        except Exception as error:
            failure = _worth_a_retry(target, error)
            if failure is None:
                raise
            if (found := _find_sent(target, change)) is not None:
                return Committed(found, overtaken=overtaken)
            wait = asked_wait_seconds(error)
            if pause is None or wait > MOST_PAUSE_SECONDS:
                raise failure from error
            overtaken += status_of(error) == HTTPStatus.PRECONDITION_FAILED
            wait = max(pause, wait)
            _log.warning("commit not made, trying again", extra={"error": hub_words(error), "pause_seconds": wait})
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def differences(target: Target, commit: str, files: Mapping[str, Path]) -> list[str]:
    """Return every path that the Hub lists at `commit` otherwise than it is here; empty if the model is whole."""
    listed = target.files(commit)
    missing = [path for path in files if path not in listed]
    changed = [path for path in files if path in listed and not is_as_listed(files[path], listed[path])]
    unknown = [path for path in listed if path not in files and path not in KEPT]
    return sorted([*missing, *changed, *unknown])


def _send(target: Target, change: Change) -> Committed:
    head = target.head()
    if head is None:
        target.create_branch()
        head = target.head()
    present = target.files(head) if head else {}
    stale = sorted(path for path in present if path not in change.files and path not in KEPT)
    # Made anew for each try: an operation remembers what the Hub held at the head of its try.
    additions = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=file) for path, file in change.files.items()]
    # A .gitignore in the repository must not keep a part of the model out.
    target.api.preupload_lfs_files(
        target.repository, additions=additions, revision=target.branch, free_memory=False, gitignore_content=""
    )
    info = target.api.create_commit(
        target.repository,
        operations=[*additions, *(CommitOperationDelete(path_in_repo=path) for path in stale)],
        commit_message=change.title,
        commit_description=change.description,
        repo_type="model",
        revision=target.branch,
        parent_commit=head,
    )
    return Committed(info.oid, stale)


def _find_sent(target: Target, change: Change) -> str | None:
    found = target.find_commit(change.spec_hash)
    return found if found is not None and not differences(target, found, change.files) else None


def _worth_a_retry(target: Target, error: Exception) -> RunFailure | None:
    place = f"publish.repository: {target.repository}, branch {target.branch}"
    if status_of(error) in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT):
        message = f"{place}: other commits keep coming in ({hub_words(error)}); wait until they end"
        return RunFailure(Reason.PUBLISH_CONFLICT, message)
    if is_unreachable(error):
        message = f"{place}: the Hub did not answer as it should ({hub_words(error)}); wait until it answers"
        return RunFailure(Reason.HUB_UNAVAILABLE, message)
    return None
