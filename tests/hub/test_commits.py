import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    get_session,
    hf_raise_for_status,
)
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub import RunningHub

HEADER = {"key": "header", "value": {"summary": "By hand"}}


def added(path: str, content: bytes = b"text") -> dict[str, Any]:
    value = {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}
    return {"key": "file", "value": value}


BAD_COMMITS: dict[str, list[dict[str, Any]]] = {
    "no header": [added("a.txt")],
    "no title": [{"key": "header", "value": {"summary": " "}}, added("a.txt")],
    "path above the root": [HEADER, added("../a.txt")],
    "path that climbs": [HEADER, added("a/../../b.txt")],
    "absolute path": [HEADER, added("/a.txt")],
    "empty segment": [HEADER, added("a//b.txt")],
    "git's own folder": [HEADER, added(".git/config")],
    "git's own folder in capitals": [HEADER, added("a/.GIT/config")],
    "line feed in a path": [HEADER, added("a\nb.txt")],
    "long segment": [HEADER, added("x" * 256)],
    "below a file": [HEADER, added(".gitattributes/a.txt")],
    "in place of a folder": [HEADER, added("a/b.txt"), added("a")],
    "over 10 MiB": [HEADER, added("big.txt", b"x" * (10 * 1024 * 1024 + 1))],
    "no base64": [HEADER, {"key": "file", "value": {"path": "a.txt", "content": "?", "encoding": "base64"}}],
    "no content": [HEADER, {"key": "file", "value": {"path": "a.txt"}}],
    "pointer to nothing": [
        HEADER,
        {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 1}},
    ],
    "unknown operation": [HEADER, {"key": "unheard-of", "value": {}}],
    "no value": [HEADER, {"key": "file"}],
    "bad metadata": [HEADER, added("README.md", b"---\nlicense: [\n---\n")],
}


@pytest.fixture
def model(api: HfApi) -> str:
    api.create_repo("demo/model")
    return "demo/model"


def send(hub: RunningHub, *lines: dict[str, Any], revision: str = "main") -> str:
    """Commit to demo/model without the client's own checks; return its id, or raise as the client would."""
    answer = get_session().post(
        f"{hub.endpoint}/api/models/demo/model/commit/{revision}",
        content="".join(json.dumps(line) + "\n" for line in lines),
        headers={"Authorization": f"Bearer {hub.write_token}", "Content-Type": "application/x-ndjson"},
    )
    hf_raise_for_status(answer)
    return str(answer.json()["commitOid"])


def text(path: str) -> str:
    return Path(path).read_text()


def paths(hub: RunningHub) -> list[str]:
    return sorted(hub.commits("demo/model")["commits"][0]["files"])


def test_each_commit_is_a_snapshot_that_later_commits_leave_alone(api: HfApi, model: str) -> None:
    first = api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=model, commit_message="One").oid
    second = api.upload_file(path_or_fileobj=b"2", path_in_repo="a.txt", repo_id=model, commit_message="Two").oid
    api.delete_file("a.txt", model, commit_message="Three")

    contents = [text(api.hf_hub_download(model, "a.txt", revision=oid)) for oid in (first, second)]
    log = api.list_repo_commits(model)

    assert contents == ["1", "2"]
    assert [(commit.title, commit.authors) for commit in log] == [
        ("Three", ["demo"]),
        ("Two", ["demo"]),
        ("One", ["demo"]),
        ("initial commit", ["demo"]),
    ]
    assert not api.file_exists(model, "a.txt")


def test_a_commit_on_a_stale_parent_is_refused_with_412(api: HfApi, model: str, hub: RunningHub) -> None:
    parent = api.model_info(model).sha
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=model, parent_commit=parent)

    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as refused:
        api.upload_file(path_or_fileobj=b"2", path_in_repo="b.txt", repo_id=model, parent_commit=parent)

    assert refused.value.response.status_code == 412
    assert paths(hub) == [".gitattributes", "a.txt"]


def test_files_and_folders_are_added_copied_and_deleted_in_one_commit(api: HfApi, model: str, hub: RunningHub) -> None:
    weights = os.urandom(100)
    start = [CommitOperationAdd(path, weights) for path in ("weights.bin", "old/a.bin", "old/b.bin", "stale.bin")]
    api.create_commit(model, start, commit_message="Start")

    api.create_commit(
        model,
        [
            CommitOperationCopy("weights.bin", "copy.bin"),
            CommitOperationDelete("old/"),
            CommitOperationDelete("stale.bin"),
            CommitOperationAdd("new.txt", b"new"),
        ],
        commit_message="Change",
    )

    assert paths(hub) == [".gitattributes", "copy.bin", "new.txt", "weights.bin"]


def test_copy_file_lines_copy_from_a_revision(api: HfApi, model: str, hub: RunningHub) -> None:
    first = send(hub, HEADER, added("a.txt", b"first"))
    send(hub, HEADER, added("a.txt", b"second"))

    send(hub, HEADER, {"key": "copyFile", "value": {"path": "b.txt", "srcPath": "a.txt", "srcRev": first}})

    assert text(api.hf_hub_download(model, "b.txt")) == "first"


def test_a_commit_may_change_nothing(api: HfApi, model: str, hub: RunningHub) -> None:
    parent = api.model_info(model).sha

    oid = send(hub, HEADER)

    newest = hub.commits(model)["commits"][0]
    assert (newest["oid"], newest["parents"], newest["title"]) == (oid, [parent], "By hand")


def test_deleting_what_is_not_there_is_refused(api: HfApi, model: str) -> None:
    with pytest.raises(RemoteEntryNotFoundError, match="Make sure to differentiate file and folder paths"):
        api.delete_file("nothing.txt", model)
    with pytest.raises(RemoteEntryNotFoundError):
        api.delete_folder("nothing", model)


def test_only_existing_branches_take_commits(api: HfApi, model: str, hub: RunningHub) -> None:
    api.create_tag(model, tag="v1")
    head = str(api.model_info(model).sha)

    for revision in ("nowhere", "v1", head):
        with pytest.raises(RevisionNotFoundError):
            send(hub, HEADER, added("a.txt"), revision=revision)
    with pytest.raises(RepositoryNotFoundError):
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="demo/missing")

    assert paths(hub) == [".gitattributes"]


@pytest.mark.parametrize("case", BAD_COMMITS)
def test_a_bad_commit_is_refused_whole(model: str, hub: RunningHub, case: str) -> None:
    first, *others = BAD_COMMITS[case]
    before = hub.commits(model)

    with pytest.raises(BadRequestError):
        send(hub, first, added("good.txt"), *others)

    assert hub.commits(model) == before


def test_an_lfs_line_must_give_the_objects_real_size(api: HfApi, model: str, hub: RunningHub) -> None:
    content = os.urandom(100)
    api.upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id=model)
    oid = hub.commits(model)["commits"][0]["files"]["a.bin"]["sha256"]

    with pytest.raises(BadRequestError, match="the object has 100 bytes"):
        send(hub, HEADER, {"key": "lfsFile", "value": {"path": "b.bin", "algo": "sha256", "oid": oid, "size": 99}})


def test_pull_requests_are_refused(api: HfApi, model: str) -> None:
    with pytest.raises(HfHubHTTPError, match="disabled") as refused:
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=model, create_pr=True)

    assert refused.value.response.status_code == 403
