import os
import time

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub import RunningHub


@pytest.fixture
def model(api: HfApi, hub: RunningHub) -> str:
    api.create_repo("demo/model")
    hub.clear()
    return "demo/model"


def upload(api: HfApi, name: str = "a.txt", content: bytes = b"text", *, parent: str | None = None) -> str:
    return api.upload_file(
        path_or_fileobj=content, path_in_repo=name, repo_id="demo/model", parent_commit=parent, commit_message=name
    ).oid


@pytest.mark.parametrize("status", [401, 403, 404, 409, 412, 500, 503])
def test_a_request_can_be_made_to_fail_with_any_status(api: HfApi, model: str, hub: RunningHub, status: int) -> None:
    hub.fail({"status": status, "message": "Not today"}, method="POST", path="/commit/")

    with pytest.raises(HfHubHTTPError, match="Not today") as failed:
        upload(api)

    assert failed.value.response.status_code == status
    assert len(hub.commits(model)["commits"]) == 1
    assert upload(api)


def test_error_codes_choose_the_exception_that_the_client_raises(api: HfApi, model: str, hub: RunningHub) -> None:
    expected = {
        "RepoNotFound": RepositoryNotFoundError,
        "RevisionNotFound": RevisionNotFoundError,
        "GatedRepo": GatedRepoError,
    }

    for code, exception in expected.items():
        hub.fail({"status": 404, "errorCode": code})
        with pytest.raises(exception):
            api.model_info(model)


def test_after_429_the_client_waits_for_the_reset(api: HfApi, model: str, hub: RunningHub, waits: list[float]) -> None:
    hub.fail({"status": 429, "headers": {"RateLimit": '"api";r=0;t=55'}}, path="/preupload/")
    hub.fail({"status": 429, "headers": {"Retry-After": "7"}}, path="/preupload/")

    upload(api)

    assert waits == [56, 8]


def test_the_client_tries_again_after_5xx_and_cuts_but_not_for_commits(
    api: HfApi, model: str, hub: RunningHub, waits: list[float]
) -> None:
    hub.fail({"status": 503}, path="/preupload/")
    hub.fail("cut", path="/preupload/")
    hub.fail("cut", path="/objects/batch")
    hub.fail({"status": 500}, method="PUT", path="/_lfs/")
    hub.fail("lose-answer", method="PUT", path="/_lfs/")
    hub.fail("cut", path="/commit/")

    with pytest.raises(httpx2.TransportError):
        upload(api, "a.bin", os.urandom(100_000))

    assert waits == [1, 2, 1, 1, 2]
    assert len(hub.commits(model)["commits"]) == 1


def test_a_cut_connection_leaves_nothing_behind(api: HfApi, model: str, hub: RunningHub) -> None:
    hub.fail("cut", method="POST", path="/api/repos/create")

    with pytest.raises(httpx2.TransportError):
        api.create_repo("demo/second")

    assert not api.repo_exists("demo/second")
    assert hub.requests()[0].items() >= {"status": None, "fault": "cut"}.items()


def test_a_lost_answer_hides_a_commit_that_went_in(api: HfApi, model: str, hub: RunningHub) -> None:
    parent = str(api.model_info(model).sha)
    hub.clear()
    hub.fail("lose-answer", method="POST", path="/commit/main")

    with pytest.raises(httpx2.TransportError):
        upload(api, parent=parent)

    newest = hub.commits(model)["commits"][0]
    assert (newest["title"], newest["parents"]) == ("a.txt", [parent])
    assert hub.requests()[-1].items() >= {"status": 200, "fault": "lose-answer"}.items()
    assert upload(api, parent=parent) == newest["oid"]  # nothing has changed, so the client asks and does not commit
    with pytest.raises(HfHubHTTPError, match="412"):
        upload(api, "b.txt", parent=parent)


def test_faults_strike_after_the_requests_to_be_skipped_and_as_often_as_told(
    api: HfApi, model: str, hub: RunningHub
) -> None:
    hub.fail({"status": 403}, path="/api/models/demo/model$", skip=1, times=2)

    outcomes = [api.repo_exists(model)]
    for _ in range(2):
        with pytest.raises(HfHubHTTPError):
            api.model_info(model)
    outcomes.append(api.repo_exists(model))

    assert outcomes == [True, True]


def test_a_fault_without_end_lasts_until_it_is_cleared(api: HfApi, model: str, hub: RunningHub) -> None:
    hub.fail({"status": 503}, times=None)

    for _ in range(3):
        with pytest.raises(HfHubHTTPError):
            api.whoami()
    hub.clear()

    assert api.whoami()["name"] == "demo"


def test_an_answer_can_be_delayed(api: HfApi, model: str, hub: RunningHub) -> None:
    hub.fail({"delay": 0.2}, path="whoami")
    started = time.monotonic()

    api.whoami()

    assert time.monotonic() - started >= 0.2


def test_a_call_can_be_answered_as_if_it_had_been_done(api: HfApi, model: str, hub: RunningHub) -> None:
    hub.fail({"claim": {"commitOid": "f" * 40, "commitUrl": f"{hub.endpoint}/{model}/commit/f"}}, path="/commit/")
    hub.fail({"claim": {"id": model, "sha": ""}}, path="/revision/v1")

    answered = upload(api), api.model_info(model, revision="v1").sha

    assert answered == ("f" * 40, "")
    assert len(hub.commits(model)["commits"]) == 1


def test_a_call_can_be_done_and_answered_otherwise(api: HfApi, model: str, hub: RunningHub) -> None:
    hub.fail({"amend": {"commitOid": "f" * 40}}, path="/commit/")
    hub.fail({"amend": {"sha": None}}, path="/revision/main")

    answered = upload(api), api.model_info(model, revision="main").sha

    assert answered == ("f" * 40, None)
    assert len(hub.commits(model)["commits"]) == 2


def test_calls_that_a_self_hosted_hub_lacks_answer_404(api: HfApi, model: str, hub: RunningHub) -> None:
    state = hub.features(whoami=False, settings=False)

    with pytest.raises(HfHubHTTPError) as whoami:
        api.whoami()
    with pytest.raises(HfHubHTTPError) as settings:
        api.update_repo_settings(model, private=True)

    assert [error.value.response.status_code for error in (whoami, settings)] == [404, 404]
    assert not isinstance(settings.value, RepositoryNotFoundError)
    assert {name for name, is_on in state.items() if not is_on} == {"whoami", "settings"}
    assert upload(api)


def test_each_request_is_recorded_with_its_user_and_client(api: HfApi, model: str, hub: RunningHub) -> None:
    api.model_info(model, files_metadata=True)
    HfApi(endpoint=hub.endpoint, token=False).repo_exists(model)

    first, second = hub.requests()

    assert (first["method"], first["path"], first["query"], first["status"], first["user"]) == (
        "GET",
        "/api/models/demo/model",
        "blobs=true",
        200,
        "demo",
    )
    assert first["userAgent"].startswith("unknown/None; hf_hub/2.4")
    assert (second["user"], second["fault"]) == (None, None)
    hub.clear()
    assert hub.requests() == []
