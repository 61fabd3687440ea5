import hashlib
import json
import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, get_session

from tests.hub import Options, RunningHub, running_hub

MIB = 1 << 20


def promise(hub: RunningHub, content: bytes, *, token: str = "hf_demo_write") -> dict[str, str]:
    """Ask for a place to upload `content` to demo/model; return the addresses to send it to and to verify it at."""
    answer = get_session().post(
        f"{hub.endpoint}/demo/model.git/info/lfs/objects/batch",
        json={
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": [described(content)],
            "hash_algo": "sha256",
        },
        headers={"Authorization": f"Bearer {token}"},
    )
    actions = answer.raise_for_status().json()["objects"][0]["actions"]
    return {name: action["href"] for name, action in actions.items()}


def complete(address: str, etags: list[str]) -> int:
    """Ask to join the parts with these etags; return the answer's status."""
    parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, start=1)]
    return get_session().post(address, json={"parts": parts}).status_code


def described(content: bytes) -> dict[str, object]:
    return {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}


@pytest.fixture
def _model(api: HfApi) -> None:
    api.create_repo("demo/model")


@pytest.mark.usefixtures("_model")
def test_text_goes_into_the_commit_and_large_or_binary_files_go_by_lfs(api: HfApi, hub: RunningHub) -> None:
    hub.clear()
    files = {
        "config.json": b"{}",
        "long.txt": b"line\n" * (3 * MIB),
        "image": os.urandom(64),
        "model.safetensors": b"text, but its name says lfs",
    }

    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit("demo/model", operations, commit_message="Files")

    found = api.get_paths_info("demo/model", list(files))
    assert {file.path: bool(getattr(file, "lfs", None)) for file in found} == {
        "config.json": False,
        "long.txt": True,
        "image": True,
        "model.safetensors": True,
    }
    assert {file.path: file.size for file in found if hasattr(file, "size")} == {
        path: len(content) for path, content in files.items()
    }
    assert [call.split("/")[1].split()[0] for call in hub.calls() if call.startswith("PUT")] == ["_lfs"] * 3


@pytest.mark.usefixtures("_model")
def test_ids_are_those_that_git_gives(api: HfApi) -> None:
    api.upload_file(path_or_fileobj=b"hello\n", path_in_repo="folder/hello.txt", repo_id="demo/model")
    api.upload_file(path_or_fileobj=b"\0", path_in_repo="zero.bin", repo_id="demo/model")

    _, text, zero = api.model_info("demo/model", files_metadata=True).siblings or []
    assert text.blob_id == "ce013625030ba8dba906f756967f9e9ca394464a"  # printf 'hello\n' | git hash-object --stdin
    assert zero.lfs == {"size": 1, "sha256": hashlib.sha256(b"\0").hexdigest(), "pointer_size": 126}


@pytest.mark.usefixtures("_model")
def test_an_unchanged_upload_makes_no_commit_and_sends_no_content(api: HfApi, hub: RunningHub) -> None:
    files = {"a.txt": b"text", "b.bin": os.urandom(100)}
    first = api.create_commit("demo/model", [CommitOperationAdd(*file) for file in files.items()], commit_message="1")
    hub.clear()

    second = api.create_commit("demo/model", [CommitOperationAdd(*file) for file in files.items()], commit_message="2")

    assert second.oid == first.oid
    assert [call.split()[0] for call in hub.calls()] == ["POST", "POST", "GET"]  # preupload, lfs batch, model_info
    assert len(hub.commits("demo/model")["commits"]) == 2


def test_large_files_are_split_and_joined_again(tmp_path: Path) -> None:
    content = os.urandom(11 * MIB + 5)
    with running_hub(tmp_path / "hub", options=Options(multipart_bytes=5 * MIB, chunk_bytes=4 * MIB)) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.write_token)
        api.create_repo("demo/model")
        api.upload_file(path_or_fileobj=content, path_in_repo="model.safetensors", repo_id="demo/model")

        parts = [call for call in hub.calls() if call.startswith("PUT")]
        path = api.hf_hub_download("demo/model", "model.safetensors")

    assert [call.rpartition("/")[2] for call in parts] == ["1 200", "2 200", "3 200"]
    assert Path(path).read_bytes() == content
    assert list((tmp_path / "hub" / "incoming").iterdir()) == []


def test_parts_that_are_missing_or_not_as_sent_are_not_joined() -> None:
    with running_hub(options=Options(multipart_bytes=4, chunk_bytes=3)) as hub:
        HfApi(endpoint=hub.endpoint, token=hub.write_token).create_repo("demo/model")
        address, content = promise(hub, b"content")["upload"], b"content"

        etags = [
            get_session().put(f"{address}/{n}", content=content[3 * n - 3 : 3 * n]).headers["ETag"] for n in (1, 2)
        ]
        missing = complete(address, etags)
        etags.append(get_session().put(f"{address}/3", content=b"t").headers["ETag"])
        altered = complete(address, [*etags[:2], '"0"'])
        beyond = get_session().put(f"{address}/4", content=b"t").status_code
        whole = complete(address, etags)
        again = complete(address, etags)

    assert [missing, altered, beyond, whole, again] == [400, 400, 404, 200, 200]


@pytest.mark.usefixtures("_model")
def test_upload_folder_with_xet_off_makes_one_commit(api: HfApi, hub: RunningHub, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(os.urandom(1000))

    api.upload_folder(repo_id="demo/model", folder_path=folder)

    newest = hub.commits("demo/model")["commits"][0]
    assert sorted(newest["files"]) == [".gitattributes", "1_Pooling/config.json", "model.safetensors"]
    assert len(hub.commits("demo/model")["commits"]) == 2


@pytest.mark.usefixtures("_model")
def test_files_that_gitignore_names_are_left_out(api: HfApi, hub: RunningHub) -> None:
    files = {".gitignore": b"*.tmp\nlogs/\n", "a.tmp": b"a", "logs/b.txt": b"b", "c.txt": b"c"}

    api.create_commit("demo/model", [CommitOperationAdd(*file) for file in files.items()], commit_message="Files")

    assert sorted(hub.commits("demo/model")["commits"][0]["files"]) == [".gitattributes", ".gitignore", "c.txt"]


@pytest.mark.usefixtures("_model")
def test_content_with_another_checksum_or_size_is_refused(hub: RunningHub) -> None:
    address = promise(hub, b"right")["upload"]

    checksum = get_session().put(address, content=b"wrong")
    size = get_session().put(address, content=b"right and more")
    right = get_session().put(address, content=b"right")

    assert (checksum.status_code, "Checksum mismatch" in checksum.text) == (400, True)
    assert (size.status_code, "Size mismatch" in size.text) == (400, True)
    assert right.status_code == 200


@pytest.mark.usefixtures("_model")
def test_verify_refuses_what_was_not_uploaded_or_has_another_size(hub: RunningHub) -> None:
    addresses, token = promise(hub, b"content"), {"Authorization": f"Bearer {hub.write_token}"}

    early = get_session().post(addresses["verify"], json=described(b"content"), headers=token)
    get_session().put(addresses["upload"], content=b"content")
    longer = get_session().post(addresses["verify"], json=described(b"content") | {"size": 8}, headers=token)
    right = get_session().post(addresses["verify"], json=described(b"content"), headers=token)

    assert [early.status_code, longer.status_code, right.status_code] == [404, 400, 200]


@pytest.mark.usefixtures("_model")
def test_nobody_else_gets_a_place_to_upload_to(hub: RunningHub) -> None:
    with pytest.raises(Exception, match="403 Forbidden"):
        promise(hub, b"content", token="hf_other_write")

    assert get_session().put(f"{hub.endpoint}/_lfs/guessed", content=b"content").status_code == 404


@pytest.mark.usefixtures("_model")
def test_an_object_uploaded_to_another_repository_has_to_be_uploaded_again(api: HfApi, hub: RunningHub) -> None:
    content = os.urandom(100)
    api.upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id="demo/model")
    api.create_repo("demo/second")
    header = {"key": "header", "value": {"summary": "By hand"}}
    line = {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", **described(content)}}

    answer = get_session().post(
        f"{hub.endpoint}/api/models/demo/second/commit/main",
        content=f"{json.dumps(header)}\n{json.dumps(line)}\n",
        headers={"Authorization": f"Bearer {hub.write_token}"},
    )

    assert (answer.status_code, "LFS pointer pointed to a file that does not exist" in answer.text) == (400, True)
