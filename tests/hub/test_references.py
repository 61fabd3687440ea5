from datetime import UTC, datetime

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RevisionNotFoundError

from tests.hub import RunningHub
from tests.hub.errors import HubError
from tests.hub.history import Note, Repository, make_commit


@pytest.fixture
def commits(api: HfApi) -> list[str]:
    """Make demo/model with two commits; return their ids, older first."""
    api.create_repo("demo/model")
    return [
        api.upload_file(path_or_fileobj=text, path_in_repo="a.txt", repo_id="demo/model").oid for text in (b"1", b"2")
    ]


def test_branches_tags_and_beginnings_of_commit_ids_name_a_commit(api: HfApi, commits: list[str]) -> None:
    first, second = commits
    api.create_tag("demo/model", tag="v/1.0", revision=first[:7], tag_message="One")
    api.create_branch("demo/model", branch="feature/x", revision="v/1.0")

    found = {
        revision: api.model_info("demo/model", revision=revision).sha
        for revision in ("main", "v/1.0", "refs/tags/v/1.0", "feature/x", first, first[:8])
    }

    assert found == {
        "main": second,
        "v/1.0": first,
        "refs/tags/v/1.0": first,
        "feature/x": first,
        first: first,
        first[:8]: first,
    }


def test_a_beginning_that_two_commits_share_names_neither() -> None:
    repository = Repository(kind="model", owner="demo", name="model", created=datetime(2026, 1, 1, tzinfo=UTC))
    note = Note("demo", repository.created, title="Title", description="")
    for ending in ("0", "1"):
        commit = make_commit({}, parent=None, note=note).model_copy(update={"oid": "abcdef0" + ending.zfill(33)})
        repository.advance("main", commit)

    with pytest.raises(HubError, match="Invalid rev id: abcdef0"):
        repository.resolve("abcdef0")

    assert repository.resolve("abcdef0" + "1".zfill(33)) == repository.head


def test_a_branch_moves_alone_and_its_commits_outlive_it(api: HfApi, commits: list[str]) -> None:
    api.create_branch("demo/model", branch="side")
    third = api.upload_file(path_or_fileobj=b"3", path_in_repo="b.txt", repo_id="demo/model", revision="side").oid

    api.delete_branch("demo/model", branch="side")

    assert api.model_info("demo/model").sha == commits[-1]
    assert api.model_info("demo/model", revision=third).sha == third
    assert not api.revision_exists("demo/model", "side")


def test_references_are_listed_with_their_commits(api: HfApi, commits: list[str]) -> None:
    api.create_tag("demo/model", tag="v1")
    api.create_branch("demo/model", branch="old", revision=commits[0])

    refs = api.list_repo_refs("demo/model", include_pull_requests=True)

    assert {ref.ref: ref.target_commit for ref in [*refs.branches, *refs.tags]} == {
        "refs/heads/main": commits[1],
        "refs/heads/old": commits[0],
        "refs/tags/v1": commits[1],
    }
    assert (refs.converts, refs.pull_requests) == ([], [])


def test_taken_names_are_refused_with_409_and_tags_stay_where_they_are(
    api: HfApi, commits: list[str], hub: RunningHub
) -> None:
    api.create_tag("demo/model", tag="v1", revision=commits[0])

    with pytest.raises(HfHubHTTPError, match="Tag reference exists already") as tag:
        api.create_tag("demo/model", tag="v1")
    with pytest.raises(HfHubHTTPError, match="Reference already exists") as branch:
        api.create_branch("demo/model", branch="main")
    api.create_tag("demo/model", tag="v1", exist_ok=True)

    assert [error.value.response.status_code for error in (tag, branch)] == [409, 409]
    assert hub.commits("demo/model")["tags"] == {"v1": commits[0]}


def test_what_is_deleted_is_gone_and_what_is_missing_cannot_be_deleted(api: HfApi, commits: list[str]) -> None:
    api.create_tag("demo/model", tag="v1")

    api.delete_tag("demo/model", tag="v1")

    assert api.list_repo_refs("demo/model").tags == []
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag("demo/model", tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.delete_branch("demo/model", branch="nowhere")
    with pytest.raises(HfHubHTTPError, match="Cannot delete refs/heads/main"):
        api.delete_branch("demo/model", branch="main")


def test_bad_names_and_missing_starting_points_are_refused(api: HfApi, commits: list[str]) -> None:
    with pytest.raises(BadRequestError):
        api.create_tag("demo/model", tag="bad tag")
    with pytest.raises(RevisionNotFoundError):
        api.create_tag("demo/model", tag="v1", revision="nowhere")
    with pytest.raises(RevisionNotFoundError):
        api.create_branch("demo/model", branch="side", revision="nowhere")
