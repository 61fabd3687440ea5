import hashlib
import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

from tests.hub import RunningHub

MIB = 1 << 20
OUTSIDE = b'{"error": "Range Not Satisfiable"}'


def upload(api: HfApi, files: dict[str, bytes], *, repo_type: str = "model") -> str:
    """Create demo/repo with these files in one commit and return its id."""
    api.create_repo("demo/repo", repo_type=repo_type, exist_ok=True)
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit("demo/repo", operations, commit_message="Files", repo_type=repo_type).oid


def contents(folder: str) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
    return {path: file.read_bytes() for path, file in found.items() if path != ".gitattributes"}


@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_a_snapshot_at_a_commit_holds_the_files_of_that_commit(api: HfApi, repo_type: str) -> None:
    files = {"config.json": b"{}", "deep/er/model.safetensors": os.urandom(MIB), "empty.txt": b""}
    first = upload(api, files, repo_type=repo_type)
    upload(api, {"config.json": b'{"changed": true}'}, repo_type=repo_type)

    folder = api.snapshot_download("demo/repo", repo_type=repo_type, revision=first)

    assert contents(folder) == files
    assert Path(folder).name == first


def test_names_with_spaces_signs_and_other_scripts_come_back_as_they_were(api: HfApi) -> None:
    files = {"with space.txt": b"1", "100%/a+b&c#d.txt": b"2", "größe/文.txt": b"3"}

    upload(api, files)

    assert contents(api.snapshot_download("demo/repo")) == files


def test_head_tells_commit_size_and_checksum(api: HfApi, hub: RunningHub) -> None:
    content = os.urandom(1000)
    commit = upload(api, {"a.txt": b"hello\n", "b.bin": content})

    text, large = (
        get_hf_file_metadata(hf_hub_url("demo/repo", name, endpoint=hub.endpoint)) for name in ("a.txt", "b.bin")
    )

    assert (text.commit_hash, text.size, text.etag) == (commit, 6, "ce013625030ba8dba906f756967f9e9ca394464a")
    assert (large.commit_hash, large.size, large.etag) == (commit, 1000, hashlib.sha256(content).hexdigest())
    assert large.xet_file_data is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=2-", (206, "bytes 2-9/10", b"23456789")),
        ("bytes=2-4", (206, "bytes 2-4/10", b"234")),
        ("bytes=8-99", (206, "bytes 8-9/10", b"89")),
        ("bytes=-3", (206, "bytes 7-9/10", b"789")),
        ("bytes=10-", (416, "bytes */10", OUTSIDE)),
        ("lines=1-2", (416, "bytes */10", OUTSIDE)),
    ],
)
def test_a_part_of_a_file_can_be_asked_for(
    api: HfApi, hub: RunningHub, asked: str, expected: tuple[int, str, bytes]
) -> None:
    upload(api, {"digits.txt": b"0123456789"})
    address = hf_hub_url("demo/repo", "digits.txt", endpoint=hub.endpoint)

    answer = get_session().get(address, headers={"Range": asked, "Accept-Encoding": "identity"})

    assert (answer.status_code, answer.headers["Content-Range"], answer.content) == expected


def test_a_download_that_breaks_off_goes_on_where_it_was(
    api: HfApi, hub: RunningHub, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", MIB // 4)  # what is short of a whole chunk is fetched again
    content = os.urandom(3 * MIB)
    upload(api, {"model.safetensors": content})
    hub.clear()
    hub.fail({"cutAfterBytes": MIB}, method="GET", path="/resolve/", times=2)

    path = api.hf_hub_download("demo/repo", "model.safetensors")

    assert Path(path).read_bytes() == content
    assert [entry["status"] for entry in hub.requests() if entry["method"] == "GET"] == [200, 206, 206]
    assert waits == [1, 1]


def test_missing_files_and_revisions_are_told_apart(api: HfApi) -> None:
    commit = upload(api, {"a.txt": b"1"})

    with pytest.raises(RemoteEntryNotFoundError) as entry:
        api.hf_hub_download("demo/repo", "b.txt")
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download("demo/repo", "a.txt", revision="nowhere")

    assert entry.value.response.headers["X-Repo-Commit"] == commit
