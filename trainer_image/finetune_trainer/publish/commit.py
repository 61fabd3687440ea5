"""One atomic commit that makes a branch hold exactly one model, however often an answer is lost on the way."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from finetune_api.reasons import Reason
from finetune_trainer.hub.errors import asked_wait_seconds, hub_words, is_unreachable, status_of, understood
from finetune_trainer.publish.access import INITIAL_FILES
from finetune_trainer.publish.branch import Target
from finetune_trainer.publish.proof import RUNS, differences, find_untagged, is_foreign
from finetune_trainer.workspace.failures import RunFailure

#: Seconds to wait before each further try.
PAUSES = (1.0, 4.0, 15.0)
#: Longest wait that the Hub may ask for; after a longer one the publish container is started anew.
MOST_PAUSE_SECONDS = 300.0

#: Of earlier runs there are curves.
_UNTOLD = (".git", "LICENSE", "NOTICE", RUNS)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What the branch is to hold, and the words of the commit."""

    files: Mapping[str, Path]
    """Path in the repository to local file."""
    title: str
    description: str
    run: str
    replaces: bool = True
    """Whether what is on the branch and not of this run may be replaced."""


class OccupiedError(Exception):
    """The branch holds files that are not of this run and may not be replaced."""

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(", ".join(files))
        self.files = files


@dataclass(frozen=True)
class Committed:
    """The commit and what it took away."""

    commit: str
    removed: Sequence[str] = ()
    foreign: Sequence[str] = ()
    """What stays beside the model; licenses and git's own files are not told."""
    overtaken: int = 0
    """How often another commit came first."""


def commit_files(target: Target, change: Change) -> Committed:
    """Make `change` the newest commit of the branch and return it, read back and compared.

    The head that was read must still be the head (412 otherwise). After any error the branch is searched for a commit
    of this run before another is sent: the answer may have been lost, not the commit. Fails with PublishConflict when
    others keep committing, with HubUnavailable when no answer comes, or one that is not true. Where the Hub says when
    it will take requests again, it is waited for so long, within a bound. Raises OccupiedError, also if the files came
    in between two tries.
    """
    overtaken = 0
    for pause in (*PAUSES, None):
        try:
            sent = _send(target, change)
            return replace(sent, commit=_proven(target, sent.commit, change), overtaken=overtaken)
        except OccupiedError:
            raise
        except Exception as error:
            failure = error if isinstance(error, RunFailure) else _worth_a_retry(target, error)
            if failure is None:
                raise
            if (found := find_untagged(target, change.files, run=change.run)) is not None:
                return Committed(found, overtaken=overtaken)
            if failure is error:
                raise
            wait = asked_wait_seconds(error)
            if pause is None or wait > MOST_PAUSE_SECONDS:
                raise failure from error
            overtaken += status_of(error) == HTTPStatus.PRECONDITION_FAILED
            wait = max(pause, wait)
            _log.warning("commit not made, trying again", extra={"error": hub_words(error), "pause_seconds": wait})
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _proven(target: Target, answered: str, change: Change) -> str:
    """Return the commit once the branch has it and it holds what was sent; the answer alone says nothing."""
    if not target.holds(answered):
        because = f"is not on branch {target.branch}"
    elif wrong := differences(target, answered, change.files):
        because = f"does not hold what was sent ({', '.join(wrong[:5])})"
    else:
        return answered
    message = f"publish.repository: the Hub answered that {target.repository}@{str(answered)[:12]} was made, and it"
    raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message} {because}; look at what the Hub's logs say about it")


def _send(target: Target, change: Change) -> Committed:
    head = _head(target)
    present = target.files(head) if head else {}
    theirs = sorted(set(present) - INITIAL_FILES)
    if head and theirs and not change.replaces and not target.is_of_run(head, change.run):
        raise OccupiedError(theirs)
    own = f"{RUNS}{change.run}/"
    others = [path for path in present if path not in change.files]
    stale = sorted(path for path in others if path.startswith(own) or not is_foreign(path))
    # Made anew for each try: an operation remembers what the Hub held at the head of its try.
    additions = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=file) for path, file in change.files.items()]
    with understood(f"committing to {target.repository}"):
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
    foreign = sorted(set(present) - set(stale) - set(change.files))
    return Committed(info.oid, stale, [path for path in foreign if not path.startswith(_UNTOLD)])


def _head(target: Target) -> str | None:
    """Return the newest commit of the branch, which is made if it is missing; None where there is no commit at all."""
    if (head := target.head()) is not None:
        return head
    target.create_branch()
    if (head := target.head()) is not None or not target.files(target.branch):
        return head
    message = f"publish.repository: the Hub names no commit of {target.repository}, branch {target.branch}"
    raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message}, which has files; look at what the Hub's logs say about it")


def _worth_a_retry(target: Target, error: Exception) -> RunFailure | None:
    place = f"publish.repository: {target.repository}, branch {target.branch}"
    if status_of(error) in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT):
        message = f"{place}: other commits keep coming in ({hub_words(error)}); wait until they end"
        return RunFailure(Reason.PUBLISH_CONFLICT, message)
    if is_unreachable(error):
        message = f"{place}: the Hub did not answer as it should ({hub_words(error)}); wait until it answers"
        return RunFailure(Reason.HUB_UNAVAILABLE, message)
    return None
