"""The commit request: one JSON object per line, a header and then operations, applied all or not at all."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from tests.hub.attributes import MAX_REGULAR_BYTES
from tests.hub.card import check_card
from tests.hub.errors import HubError, bad_request, entry_not_found, revision_not_found, stale_parent
from tests.hub.git_objects import blob_id, pointer
from tests.hub.history import Commit, File, Note, Repository, make_commit
from tests.hub.names import check_file_path
from tests.hub.store import Store

_README = "README.md"


def apply_commit(store: Store, repository: Repository, branch: str, lines: Iterable[bytes], *, author: str) -> Commit:
    """Put one commit on top of a branch.

    Errors: 404 no such branch, or deleting what is not there; 412 the branch is not at `parentCommit`; 400 everything
    that is malformed, too large, or names a large object that was not uploaded. After an error the branch is as it was.
    """
    operations = _parse(lines)
    header = _header(operations)
    if branch not in repository.branches:
        raise revision_not_found(branch)
    parent = repository.commits[repository.branches[branch]]
    expected = header.get("parentCommit")
    if expected and not parent.oid.startswith(expected):
        raise stale_parent()
    change = _Change(store, repository, parent)
    for key, value in operations:
        change.apply(key, value)
    note = Note(author, datetime.now(UTC), title=header["summary"], description=header.get("description") or "")
    commit = make_commit(change.files, parent=parent, note=note)
    store.advance(repository, branch, commit)
    return commit


def _parse(lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if line.strip() == b"":
            continue
        try:
            item = json.loads(line)
        except ValueError as error:
            raise bad_request(f"Invalid NDJSON, line {number}: {error}") from error
        if not isinstance(item, dict) or not isinstance(item.get("value"), dict):
            raise bad_request(f'Invalid NDJSON, line {number}: expected {{"key": ..., "value": {{...}}}}')
        yield str(item.get("key")), item["value"]


def _header(operations: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    key, header = next(operations, ("", {}))
    if key != "header":
        raise bad_request("The first line must be the header")
    if not isinstance(header.get("summary"), str) or header["summary"].strip() == "":
        raise bad_request("Commit summary is required")
    return header


class _Change:
    """The files of a branch while a commit's operations are applied to them, in order."""

    def __init__(self, store: Store, repository: Repository, parent: Commit) -> None:
        self._store = store
        self._repository = repository
        self.files = dict(parent.files)

    def apply(self, key: str, value: dict[str, Any]) -> None:
        operation = {
            "file": self._add,
            "lfsFile": self._add_large,
            "deletedFile": self._delete,
            "deletedFolder": self._delete_folder,
            "copyFile": self._copy,
        }.get(key)
        if operation is None:
            raise bad_request(f"Unknown operation: {key}")
        operation(value)

    def _add(self, value: dict[str, Any]) -> None:
        path = check_file_path(value.get("path"))
        content = _content(value)
        if len(content) > MAX_REGULAR_BYTES:
            raise bad_request(
                f"Your push was rejected because it contains files larger than 10 MiB: {path}."
                " Please use https://git-lfs.github.com/ to store large files."
            )
        if path == _README:
            _check_readme(content, self._repository)
        self._put(path, self._store.keep_file(content))

    def _add_large(self, value: dict[str, Any]) -> None:
        path, oid = check_file_path(value.get("path")), value.get("oid")
        if value.get("algo") != "sha256" or oid not in self._repository.large_objects:
            raise bad_request(
                "Your push was rejected because an LFS pointer pointed to a file that does not exist."
                f" File: {path}, oid: {oid}"
            )
        size = self._store.objects.path(str(oid)).stat().st_size
        if value.get("size", size) != size:
            raise bad_request(f"LFS pointer of {path} gives size {value['size']}, but the object has {size} bytes")
        self._put(path, File(sha256=str(oid), size=size, blob=blob_id(pointer(str(oid), size)), is_large=True))

    def _delete(self, value: dict[str, Any]) -> None:
        path = check_file_path(value.get("path"))
        if self.files.pop(path, None) is None:
            raise entry_not_found(f"A file with this name doesn't exist: {path}")

    def _delete_folder(self, value: dict[str, Any]) -> None:
        path = check_file_path(str(value.get("path")).rstrip("/"))
        inside = [name for name in self.files if name.startswith(f"{path}/")]
        if not inside:
            raise entry_not_found(f"A folder with this name doesn't exist: {path}")
        for name in inside:
            del self.files[name]

    def _copy(self, value: dict[str, Any]) -> None:
        source = check_file_path(value.get("srcPath"))
        revision = value.get("srcRev")
        files = self.files if revision is None else self._repository.resolve(str(revision)).files
        if source not in files:
            raise entry_not_found(f"A file with this name doesn't exist: {source}")
        self._put(check_file_path(value.get("path")), files[source])

    def _put(self, path: str, file: File) -> None:
        parents = path.split("/")[:-1]
        above = {"/".join(parents[: count + 1]) for count in range(len(parents))}
        if above & self.files.keys() or any(name.startswith(f"{path}/") for name in self.files):
            raise bad_request(f"Invalid path: {path} is a file and a folder at once")
        self.files[path] = file


def _content(value: dict[str, Any]) -> bytes:
    content = value.get("content")
    if not isinstance(content, str):
        raise bad_request("A file needs `content`")
    if value.get("encoding", "utf-8") != "base64":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise bad_request(f"Invalid base64: {error}") from error


def _check_readme(content: bytes, repository: Repository) -> None:
    verdict = check_card(content.decode(errors="replace"), kind=repository.kind)
    if verdict.errors:
        raise HubError(400, "\n".join(["Invalid metadata in README.md", *verdict.errors]))
