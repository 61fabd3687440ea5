import pytest
from huggingface_hub import HfApi, get_session
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub import Options, RunningHub, running_hub


def test_a_new_repository_holds_one_commit_with_its_attributes(api: HfApi, hub: RunningHub) -> None:
    url = api.create_repo("acme/model", private=True)

    info = api.model_info("acme/model")

    assert (url.endpoint, url.repo_id, url.repo_type) == (hub.endpoint, "acme/model", "model")
    assert (info.id, info.author, info.private, info.gated) == ("acme/model", "acme", True, False)
    assert [sibling.rfilename for sibling in info.siblings or []] == [".gitattributes"]
    assert [commit.title for commit in api.list_repo_commits("acme/model")] == ["initial commit"]


def test_a_name_is_free_once_per_type_whatever_its_case(api: HfApi) -> None:
    api.create_repo("demo/thing")
    api.create_repo("demo/thing", repo_type="dataset")

    with pytest.raises(HfHubHTTPError, match="You already created this model repo") as same:
        api.create_repo("demo/thing")
    with pytest.raises(HfHubHTTPError) as cased:
        api.create_repo("demo/Thing")

    assert [same.value.response.status_code, cased.value.response.status_code] == [409, 409]
    assert api.create_repo("demo/thing", exist_ok=True).repo_id == "demo/thing"


def test_nobody_creates_repositories_in_a_foreign_namespace(api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError, match='under the namespace "other"') as refused:
        api.create_repo("other/model")

    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("name", ["a--b", "a..b", "-a", ".a", "a-", "a.git", "a b", "x" * 97])
def test_a_bad_repository_name_is_refused(hub: RunningHub, name: str) -> None:
    answer = get_session().post(
        f"{hub.endpoint}/api/repos/create",
        json={"name": name},
        headers={"Authorization": f"Bearer {hub.write_token}"},
    )

    assert (answer.status_code, "Invalid repo name" in answer.json()["error"]) == (400, True)


def test_a_private_repository_looks_missing_to_everyone_else(api: HfApi, stranger: HfApi, hub: RunningHub) -> None:
    api.create_repo("demo/secret", private=True)
    anonymous = HfApi(endpoint=hub.endpoint, token=False)

    with pytest.raises(RepositoryNotFoundError) as logged_in:
        stranger.model_info("demo/secret")
    with pytest.raises(RepositoryNotFoundError) as not_logged_in:
        anonymous.model_info("demo/secret")
    with pytest.raises(RepositoryNotFoundError) as missing:
        anonymous.model_info("demo/missing")

    assert [error.value.response.status_code for error in (logged_in, not_logged_in, missing)] == [404, 401, 401]
    assert (api.repo_exists("demo/secret"), stranger.repo_exists("demo/secret")) == (True, False)


def test_someone_elses_public_repository_can_be_read_but_not_written(api: HfApi, stranger: HfApi) -> None:
    api.create_repo("demo/model")

    with pytest.raises(HfHubHTTPError, match="create_pr=1") as upload:
        stranger.upload_file(path_or_fileobj=b"text", path_in_repo="a.txt", repo_id="demo/model")

    assert upload.value.response.status_code == 403
    assert stranger.model_info("demo/model").id == "demo/model"


def test_settings_change_visibility_and_gating(api: HfApi) -> None:
    api.create_repo("demo/model")

    api.update_repo_settings("demo/model", private=True, gated="manual")

    info = api.model_info("demo/model")
    assert (info.private, info.gated) == (True, "manual")


def test_files_of_a_gated_repository_need_a_grant(api: HfApi, stranger: HfApi) -> None:
    api.create_repo("demo/model")
    api.update_repo_settings("demo/model", gated="manual")

    with pytest.raises(GatedRepoError):
        stranger.hf_hub_download("demo/model", ".gitattributes")
    with pytest.raises(GatedRepoError):
        stranger.auth_check("demo/model")
    api.grant_access("demo/model", "other")

    assert stranger.hf_hub_download("demo/model", ".gitattributes").endswith(".gitattributes")


def test_a_deleted_repository_is_gone_and_its_name_free(api: HfApi) -> None:
    api.create_repo("demo/model")

    api.delete_repo("demo/model")

    assert not api.repo_exists("demo/model")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("demo/model")
    assert api.create_repo("demo/model").repo_id == "demo/model"


def test_expand_shows_only_the_fields_asked_for(api: HfApi) -> None:
    api.create_repo("demo/model")

    info = api.model_info("demo/model", expand=["sha", "gated"])

    assert (info.gated, info.private, info.siblings) == (False, None, None)
    assert info.sha == api.model_info("demo/model").sha


def test_repositories_are_listed_by_author_as_far_as_one_may_see_them(api: HfApi, stranger: HfApi) -> None:
    api.create_repo("acme/open")
    api.create_repo("acme/closed", private=True)
    stranger.create_repo("other/model")

    assert [model.id for model in api.list_models(author="acme")] == ["acme/closed", "acme/open"]
    assert [model.id for model in stranger.list_models(author="acme")] == ["acme/open"]
    assert list(api.list_datasets()) == []


def test_the_tree_of_a_commit_is_listed_over_pages() -> None:
    with running_hub(options=Options(page_entries=3, expanded_page_entries=2)) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.write_token)
        api.create_repo("demo/model")
        for path in ("a.txt", "b/c.txt", "b/d/e.txt", "f.txt"):
            api.upload_file(path_or_fileobj=path.encode(), path_in_repo=path, repo_id="demo/model", commit_message=path)

        everything = [entry.path for entry in api.list_repo_tree("demo/model", recursive=True)]
        top = [entry.path for entry in api.list_repo_tree("demo/model")]
        inside = [entry.path for entry in api.list_repo_tree("demo/model", "b", recursive=True)]
        expanded = {
            entry.path: entry.last_commit.title
            for entry in api.list_repo_tree("demo/model", recursive=True, expand=True)
            if entry.last_commit
        }

    assert everything == [".gitattributes", "a.txt", "b", "b/c.txt", "b/d", "b/d/e.txt", "f.txt"]
    assert top == [".gitattributes", "a.txt", "b", "f.txt"]
    assert inside == ["b/c.txt", "b/d", "b/d/e.txt"]
    assert expanded == {
        ".gitattributes": "initial commit",
        "a.txt": "a.txt",
        "b": "b/d/e.txt",
        "b/c.txt": "b/c.txt",
        "b/d": "b/d/e.txt",
        "b/d/e.txt": "b/d/e.txt",
        "f.txt": "f.txt",
    }


def test_paths_info_leaves_out_what_is_not_there(api: HfApi) -> None:
    api.create_repo("demo/data", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="a/b.txt", repo_id="demo/data", repo_type="dataset")

    found = api.get_paths_info("demo/data", ["a", "a/b.txt", "nothing"], repo_type="dataset")

    assert [(type(entry).__name__, entry.path) for entry in found] == [("RepoFolder", "a"), ("RepoFile", "a/b.txt")]


def test_missing_revisions_and_folders_are_told_apart(api: HfApi) -> None:
    api.create_repo("demo/model")

    with pytest.raises(RevisionNotFoundError):
        api.model_info("demo/model", revision="nowhere")
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree("demo/model", "nothing"))
    with pytest.raises(BadRequestError):
        api.create_branch("demo/model", branch="bad..name")
