from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tests.hub import RunningHub, running_hub
from tests.hub.accounts import read_accounts

USERS = """
users:
  - name: ada
    organizations: [{name: engines, role: read}]
    tokens: [{value: hf_ada, role: write}]
  - name: charles
    organizations: [{name: engines, role: admin}]
    tokens: [{value: hf_charles, role: write}]
"""


def status(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


@pytest.mark.parametrize(
    ("token", "role"), [("hf_demo_write", "write"), ("hf_demo_read", "read"), ("hf_demo_acme", "fineGrained")]
)
def test_whoami_tells_the_user_the_organisations_and_the_role_of_the_token(
    hub: RunningHub, token: str, role: str
) -> None:
    answer = HfApi(endpoint=hub.endpoint, token=token).whoami()

    assert answer["name"] == "demo"
    organizations = {org["name"]: org["roleInOrg"] for org in answer["orgs"]}
    assert organizations == {"acme": "write", "sentence-transformers": "write", "philschmid": "write"}
    assert answer["auth"]["accessToken"]["role"] == role


def test_whoami_shows_what_a_fine_grained_token_may_do(hub: RunningHub) -> None:
    answer = HfApi(endpoint=hub.endpoint, token="hf_demo_acme").whoami()

    assert answer["auth"]["accessToken"]["fineGrained"]["scoped"] == [
        {
            "entity": {"_id": "acme", "type": "org", "name": "acme"},
            "permissions": ["repo.content.read", "repo.write"],
        }
    ]


def test_a_token_nobody_has_is_refused_with_401_even_for_what_is_public(hub: RunningHub, api: HfApi) -> None:
    api.create_repo("demo/model")
    unknown = HfApi(endpoint=hub.endpoint, token="hf_nobody")

    with pytest.raises(HfHubHTTPError) as whoami:
        unknown.whoami()
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as info:
        unknown.model_info("demo/model")

    assert (status(whoami), status(info)) == (401, 401)
    assert not isinstance(info.value, RepositoryNotFoundError)


def test_a_read_only_token_may_not_create_upload_tag_or_delete(api: HfApi, reader: HfApi) -> None:
    api.create_repo("demo/model")

    with pytest.raises(HfHubHTTPError, match="You don't have the rights to create a model") as create:
        reader.create_repo("demo/new")
    with pytest.raises(HfHubHTTPError, match="you must use a write token") as upload:
        reader.upload_file(path_or_fileobj=b"text", path_in_repo="a.txt", repo_id="demo/model")
    with pytest.raises(HfHubHTTPError) as tag:
        reader.create_tag("demo/model", tag="v1")
    with pytest.raises(HfHubHTTPError) as delete:
        reader.delete_repo("demo/model")

    assert {status(create), status(upload), status(tag), status(delete)} == {403}


def test_a_fine_grained_token_writes_only_where_it_is_allowed_to(hub: RunningHub) -> None:
    scoped = HfApi(endpoint=hub.endpoint, token="hf_demo_acme")

    url = scoped.create_repo("acme/model", private=True)
    with pytest.raises(HfHubHTTPError) as refused:
        scoped.create_repo("demo/model")

    assert url.repo_id == "acme/model"
    assert scoped.model_info("acme/model").private
    assert status(refused) == 403


def test_auth_check_tells_reading_from_writing(api: HfApi, stranger: HfApi) -> None:
    api.create_repo("demo/model")

    stranger.auth_check("demo/model")
    api.auth_check("demo/model", write=True)
    with pytest.raises(HfHubHTTPError) as refused:
        stranger.auth_check("demo/model", write=True)

    assert status(refused) == 403


def test_accounts_come_from_a_file_and_members_do_what_their_role_allows(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(USERS)

    with running_hub(accounts=read_accounts(path)) as hub:
        ada, charles = (HfApi(endpoint=hub.endpoint, token=token) for token in ("hf_ada", "hf_charles"))
        charles.create_repo("engines/model", private=True)

        with pytest.raises(HfHubHTTPError) as create:
            ada.create_repo("engines/second")
        with pytest.raises(HfHubHTTPError) as upload:
            ada.upload_file(path_or_fileobj=b"text", path_in_repo="a.txt", repo_id="engines/model")

        assert ada.model_info("engines/model").private
        assert (status(create), status(upload)) == (403, 403)
