"""Pushes folders to a Hub, as a user would."""

from pathlib import Path

import httpx2
from huggingface_hub import HfApi

MESSAGE = "Add the files of the example"


def push_repository(api: HfApi, *, kind: str, repository: str, folder: Path) -> str:
    """Create the repository if it is missing and commit what differs; return the commit that `main` then has.

    Where nothing differs there is no commit, and files that the Hub has already are not sent again.

    Args:
        api: with the Hub's address and a token that may write.
        kind: `model` or `dataset`.
        repository: OWNER/NAME.
        folder: the whole content of the repository; other files there are deleted.

    Raises:
        RuntimeError: the Hub refuses, or does not answer.

    """
    try:
        api.create_repo(repository, repo_type=kind, exist_ok=True)
        api.upload_folder(
            repo_id=repository, repo_type=kind, folder_path=folder, commit_message=MESSAGE, delete_patterns="*"
        )
        commit = api.repo_info(repository, repo_type=kind).sha
    except httpx2.HTTPError as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise RuntimeError(
            f"{repository}: cannot be pushed to {api.endpoint} because {why}; "
            "see that a Hub answers there and that the token may write"
        ) from error
    if commit is None:
        raise RuntimeError(f"{repository}: has no commit after the push, so the Hub did not keep it; see the Hub's log")
    return commit
