"""Repositories, files and commits as the Hub's API shows them."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from tests.hub.card import check_card
from tests.hub.git_objects import object_id
from tests.hub.history import Commit, File, Repository
from tests.hub.objects import Objects


def timestamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def repository_view(repository: Repository, commit: Commit, *, objects: Objects, with_blobs: bool) -> dict[str, Any]:
    """Return what `model_info` and `dataset_info` read."""
    card = _card(repository, commit, objects)
    view: dict[str, Any] = {
        "_id": object_id("repository", f"{repository.kind}/{repository.id}".encode())[:24],
        "id": repository.id,
        "author": repository.owner,
        "sha": commit.oid,
        "createdAt": timestamp(repository.created),
        "lastModified": timestamp(commit.date),
        "private": repository.is_private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": _tags(card),
        "usedStorage": sum({file.sha256: file.size for file in commit.files.values()}.values()),
        "siblings": [_sibling(path, file, with_blobs=with_blobs) for path, file in sorted(commit.files.items())],
    }
    if card:
        view["cardData"] = card
    if repository.kind == "model":
        view |= {"modelId": repository.id, "spaces": []}
        view |= {key: card[key] for key in ("pipeline_tag", "library_name", "model-index") if key in card}
    return view


def only(view: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Return the part of a view that `expand` asks for; the ids always come along."""
    return {key: value for key, value in view.items() if key in {"_id", "id", *fields}} if fields else view


def tree_entries(commit: Commit, folder: str, *, recursive: bool) -> Iterator[tuple[str, File | str]]:
    """Yield the path of each file (with the file) and folder (with its tree id) below a folder, in order of path."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, File | str] = {path: file for path, file in commit.files.items() if path.startswith(prefix)}
    found |= {path: oid for path, oid in commit.folders.items() if path and path.startswith(prefix)}
    for path in sorted(found):
        if recursive or "/" not in path.removeprefix(prefix):
            yield path, found[path]


def entry_view(path: str, entry: File | str, *, last_commit: Commit | None) -> dict[str, Any]:
    """Return what `list_repo_tree` and `get_paths_info` read; the last commit is shown only where asked for."""
    view: dict[str, Any]
    if isinstance(entry, str):
        view = {"type": "directory", "oid": entry, "size": 0, "path": path}
    else:
        view = {"type": "file", "oid": entry.blob, "size": entry.size, "path": path}
        if entry.is_large:
            view["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
    if last_commit is not None:
        view["lastCommit"] = {"id": last_commit.oid, "title": last_commit.title, "date": timestamp(last_commit.date)}
    return view


def last_change(repository: Repository, commit: Commit, path: str) -> Commit:
    """Return the newest commit, from this one backwards, that gave a file or folder its present content."""
    present, newest = _at(commit, path), commit
    for ancestor in repository.log(commit):
        if _at(ancestor, path) != present:
            break
        newest = ancestor
    return newest


def commit_view(commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.description,
        "date": timestamp(commit.date),
        "authors": [{"user": commit.author}],
    }


def _at(commit: Commit, path: str) -> object:
    return commit.files.get(path) or commit.folders.get(path)


def _sibling(path: str, file: File, *, with_blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": path}
    if with_blobs:
        sibling |= {"size": file.size, "blobId": file.blob}
        if file.is_large:
            sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return sibling


def _card(repository: Repository, commit: Commit, objects: Objects) -> dict[str, Any]:
    readme = commit.files.get("README.md")
    if readme is None or readme.is_large:
        return {}
    return check_card(objects.read(readme.sha256).decode(errors="replace"), kind=repository.kind).metadata


def _tags(card: dict[str, Any]) -> list[str]:
    tags = card.get("tags")
    own = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    named = [card[key] for key in ("library_name", "pipeline_tag") if isinstance(card.get(key), str)]
    licensed = [f"license:{card['license']}"] if isinstance(card.get("license"), str) else []
    return list(dict.fromkeys([*named, *own, *licensed, "region:us"]))
