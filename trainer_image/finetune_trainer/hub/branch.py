"""What is on a branch of the target repository: head, files, and the commit or tag of an earlier try of this run."""

import logging
from dataclasses import dataclass
from http import HTTPStatus

from huggingface_hub import RepoFile
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from finetune_trainer.hub.client import Api
from finetune_trainer.hub.errors import lacks_call, status_of

HASH_TRAILER = "FinetuneJob-Spec-Hash"

_log = logging.getLogger(__name__)


def tag_name(spec_hash: str) -> str:
    """Return the tag that names a run; publishing again finds it."""
    return f"finetunejob-{spec_hash}"


@dataclass(frozen=True)
class Target:
    """The branch that gets the commit."""

    api: Api
    repository: str
    branch: str

    def head(self) -> str | None:
        """Return the newest commit of the branch, None while the branch is not there."""
        try:
            return self.api.repo_info(self.repository, repo_type="model", revision=self.branch).sha
        except RevisionNotFoundError:
            return None

    def create_branch(self) -> None:
        """Make the branch from the default one."""
        self.api.create_branch(self.repository, branch=self.branch, repo_type="model", exist_ok=True)

    def files(self, revision: str) -> dict[str, RepoFile]:
        """Return the files of a commit by path."""
        entries = self.api.list_repo_tree(self.repository, repo_type="model", revision=revision, recursive=True)
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def tagged(self, tag: str) -> str | None:
        """Return the commit that `tag` names, None if there is no such tag or the Hub has no tags."""
        try:
            return self.api.repo_info(self.repository, repo_type="model", revision=tag).sha
        except HfHubHTTPError as error:
            if status_of(error) == HTTPStatus.NOT_FOUND:
                return None
            raise

    def find_commit(self, spec_hash: str) -> str | None:
        """Return the newest commit of the branch that this run made, None if there is none or the Hub has no log."""
        trailer = f"{HASH_TRAILER}: {spec_hash}"
        try:
            commits = self.api.list_repo_commits(self.repository, repo_type="model", revision=self.branch)
        except HfHubHTTPError as error:
            if isinstance(error, RevisionNotFoundError) or lacks_call(error):
                return None
            raise
        return next((commit.commit_id for commit in commits if trailer in commit.message.splitlines()), None)

    def tag(self, tag: str, *, commit: str) -> str | None:
        """Put `tag` on `commit` and return it; None, with a log line, where the Hub has no tags."""
        try:
            self.api.create_tag(self.repository, tag=tag, revision=commit, repo_type="model", exist_ok=True)
        except HfHubHTTPError as error:
            if not lacks_call(error):
                raise
            _log.warning("the Hub has no tags", extra={"tag": tag})
            return None
        return tag
