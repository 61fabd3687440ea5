"""What is on a branch of the target repository: head, files, and the commit or tag of an earlier try of this run.

Nothing here believes a single answer: there are Hubs that answer 200 to whatever they are asked for.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from huggingface_hub import GitCommitInfo, RepoFile
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from finetune_trainer.hub.client import Api
from finetune_trainer.hub.errors import lacks_call, status_of, understood
from finetune_trainer.hub.names import is_commit_id

RUN_TRAILER = "FinetuneJob-Run"

_log = logging.getLogger(__name__)


_TAG = "finetunejob-"


def tag_name(run: str) -> str:
    """Return the tag that names a run; publishing again finds it."""
    return f"{_TAG}{run}"


@dataclass(frozen=True)
class Target:
    """The branch that gets the commit."""

    api: Api
    repository: str
    branch: str

    def commit_of(self, revision: str) -> str | None:
        """Return the commit that a branch, a tag or a commit's own name stands for, None if there is none.

        What the Hub names must be there: it is asked for once more, by its own name.
        """
        named = self._named(revision)
        if named is None or named == revision:
            return named
        return named if self._named(named) == named else None

    def head(self) -> str | None:
        """Return the newest commit of the branch, None while the branch is not there."""
        return self.commit_of(self.branch)

    def create_branch(self) -> None:
        """Make the branch from the default one."""
        with understood(f"making branch {self.branch}"):
            self.api.create_branch(self.repository, branch=self.branch, repo_type="model", exist_ok=True)

    def files(self, revision: str) -> dict[str, RepoFile]:
        """Return the files of a commit, or of the branch, by path."""
        with understood(f"listing {self.repository}@{revision[:12]}"):
            entries = self.api.list_repo_tree(self.repository, repo_type="model", revision=revision, recursive=True)
            return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def log(self, revision: str) -> Sequence[GitCommitInfo] | None:
        """Return the commits up to a revision, newest first, none if it is not there; None if the Hub has no log."""
        try:
            with understood(f"reading the log of {self.repository}"):
                return self.api.list_repo_commits(self.repository, repo_type="model", revision=revision)
        except HfHubHTTPError as error:
            if isinstance(error, RevisionNotFoundError):
                return ()
            if lacks_call(error):
                return None
            raise

    def is_of_run(self, commit: str, run: str) -> bool | None:
        """Say whether a commit's message names this run; None if the Hub has no log."""
        log = self.log(commit)
        return None if log is None else any(one.commit_id == commit and _names(one, run) for one in log[:1])

    def run_of(self, commit: str) -> str | None:
        """Return the run that a commit's message names, None if it names none or the Hub has no log."""
        named = (one for one in (self.log(commit) or ())[:1] if one.commit_id == commit)
        lines = (line.partition(f"{RUN_TRAILER}: ") for one in named for line in one.message.splitlines())
        return next((run for before, found, run in lines if found and not before), None)

    def find_commit(self, run: str) -> str | None:
        """Return the newest commit of the branch that names this run, None if there is none or the Hub has no log."""
        found = next((one.commit_id for one in self.log(self.branch) or () if _names(one, run)), None)
        return found if found is not None and self.commit_of(found) == found else None

    def holds(self, commit: str) -> bool:
        """Say whether a commit is there and the branch has it."""
        if not is_commit_id(commit) or self.commit_of(commit) != commit:
            return False
        return self.head() == commit or any(one.commit_id == commit for one in self.log(self.branch) or ())

    def tagged_runs(self, spec_hash: str) -> dict[str, str]:
        """Return the commit of each run of a spec that a tag names; whether it is there, and what it holds, is open."""
        try:
            with understood(f"reading the tags of {self.repository}"):
                tags = self.api.list_repo_refs(self.repository, repo_type="model").tags
        except HfHubHTTPError as error:
            if lacks_call(error):
                return {}
            raise
        start = tag_name(spec_hash)
        return {tag.name.removeprefix(_TAG): tag.target_commit for tag in tags if tag.name.startswith(start)}

    def tag(self, tag: str, *, commit: str) -> str | None:
        """Put `tag` on `commit`, also if it is elsewhere; return why it is not there in the end, None if it is."""
        try:
            self._put_tag(tag, commit)
            if (elsewhere := self.commit_of(tag)) not in (commit, None):
                _log.warning("tag moved", extra={"tag": tag, "before": elsewhere, "commit": commit})
                self.api.delete_tag(self.repository, tag=tag, repo_type="model")
                self._put_tag(tag, commit)
        except HfHubHTTPError as error:
            if not lacks_call(error):
                raise
            return "the Hub has no tags"
        return None if self.commit_of(tag) == commit else f"the Hub does not keep tag {tag} on this commit"

    def _put_tag(self, tag: str, commit: str) -> None:
        self.api.create_tag(self.repository, tag=tag, revision=commit, repo_type="model", exist_ok=True)

    def _named(self, revision: str) -> str | None:
        try:
            with understood(f"reading {self.repository} at {revision}"):
                named = self.api.repo_info(self.repository, repo_type="model", revision=revision).sha
        except HfHubHTTPError as error:
            if status_of(error) == HTTPStatus.NOT_FOUND:
                return None
            raise
        if is_commit_id(named):
            return named
        _log.warning("the Hub names no commit", extra={"revision": revision, "answer": str(named)[:80]})
        return None


def _names(commit: GitCommitInfo, run: str) -> bool:
    """Tell whether a message names a run, or one that begins so: ids are equally long."""
    return any(line.startswith(f"{RUN_TRAILER}: {run}") for line in commit.message.splitlines())
