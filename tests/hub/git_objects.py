"""Object ids as git computes them, so that clients see the same ids as from the real Hub."""

import hashlib
from collections.abc import Mapping
from datetime import datetime


def object_id(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def blob_id(content: bytes) -> str:
    return object_id("blob", content)


def pointer(sha256: str, size: int) -> bytes:
    """Return the small file that git keeps in place of a large one (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def tree_ids(blobs: Mapping[str, str]) -> dict[str, str]:
    """Return the tree id of each folder, "" being the root, from the blob id of each path."""
    folders: dict[str, dict[str, tuple[str, str]]] = {"": {}}
    for path, oid in blobs.items():
        parent, _, name = path.rpartition("/")
        folders.setdefault(parent, {})[name] = ("100644", oid)
        while parent:
            folders.setdefault(parent.rpartition("/")[0], {})
            parent = parent.rpartition("/")[0]
    ids: dict[str, str] = {}
    for folder in sorted(folders, key=lambda name: name.count("/") if name else -1, reverse=True):
        ids[folder] = _tree_id(folders[folder])
        parent, _, name = folder.rpartition("/")
        if folder:
            folders[parent][name] = ("40000", ids[folder])
    return ids


def _tree_id(entries: Mapping[str, tuple[str, str]]) -> str:
    in_git_order = sorted(entries.items(), key=lambda item: item[0] + ("/" if item[1][0] == "40000" else ""))
    lines = (f"{mode} {name}\0".encode() + bytes.fromhex(oid) for name, (mode, oid) in in_git_order)
    return object_id("tree", b"".join(lines))


def commit_id(*, tree: str, parents: tuple[str, ...], author: str, date: datetime, message: str) -> str:
    signature = f"{author} <{author}@users.noreply.huggingface.co> {int(date.timestamp())} +0000"
    named_parents = [f"parent {parent}" for parent in parents]
    lines = [f"tree {tree}", *named_parents, f"author {signature}", f"committer {signature}"]
    return object_id("commit", ("\n".join(lines) + f"\n\n{message}").encode())
