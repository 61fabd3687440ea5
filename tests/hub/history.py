"""A repository's immutable past: commits are snapshots with parents; branches and tags point at them."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from tests.hub import git_objects
from tests.hub.errors import revision_not_found

Kind = Literal["model", "dataset"]
Visibility = Literal["public", "private"]
Gated = Literal["auto", "manual", False]

_PREFIX = re.compile(r"[0-9a-f]{7,40}")


class File(BaseModel):
    """One file of a commit; `sha256` names its content, `blob` is its git id (of the pointer, if it is large)."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int
    blob: str
    is_large: bool

    @property
    def pointer_size(self) -> int:
        return len(git_objects.pointer(self.sha256, self.size))

    @property
    def etag(self) -> str:
        """The content's id as downloads and `preupload` give it: sha256 for a large file, git's blob id otherwise."""
        return self.sha256 if self.is_large else self.blob


Tree = Mapping[str, File]


class Commit(BaseModel):
    model_config = ConfigDict(frozen=True)

    oid: str
    parents: tuple[str, ...]
    author: str
    date: datetime
    title: str
    description: str
    files: dict[str, File]

    @property
    def folders(self) -> dict[str, str]:
        """The git tree id of each folder; "" is the root."""
        return git_objects.tree_ids({path: file.blob for path, file in self.files.items()})


class Note(NamedTuple):
    """What a commit says besides its files."""

    author: str
    date: datetime
    title: str
    description: str


def make_commit(files: Tree, *, parent: Commit | None, note: Note) -> Commit:
    """Return a commit with the id that git would give it."""
    parents = () if parent is None else (parent.oid,)
    root = git_objects.tree_ids({path: file.blob for path, file in files.items()})[""]
    message = f"{note.title}\n\n{note.description}"
    oid = git_objects.commit_id(tree=root, parents=parents, author=note.author, date=note.date, message=message)
    return Commit(oid=oid, parents=parents, files=dict(files), **note._asdict())


class Repository(BaseModel):
    """A repository's settings and references; its commits are kept beside it and only ever grow."""

    kind: Kind
    owner: str
    name: str
    created: datetime
    visibility: Visibility = "public"
    gated: Gated = False
    granted: set[str] = Field(default_factory=set)
    branches: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    large_objects: set[str] = Field(default_factory=set)
    commits: dict[str, Commit] = Field(default_factory=dict, exclude=True)

    @property
    def id(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def is_private(self) -> bool:
        return self.visibility == "private"

    @property
    def head(self) -> Commit:
        return self.commits[self.branches["main"]]

    def resolve(self, revision: str) -> Commit:
        """Return the commit of a branch, tag, full ref, commit id or at least 7 characters of one; 404 otherwise."""
        references = {f"refs/heads/{name}": oid for name, oid in self.branches.items()}
        references |= {f"refs/tags/{name}": oid for name, oid in self.tags.items()}
        oid = self.branches.get(revision) or self.tags.get(revision) or references.get(revision)
        if oid is None and _PREFIX.fullmatch(revision):
            candidates = [commit for commit in self.commits if commit.startswith(revision)]
            oid = candidates[0] if len(candidates) == 1 else None
        if oid is None:
            raise revision_not_found(revision)
        return self.commits[oid]

    def log(self, start: Commit) -> Iterator[Commit]:
        """Yield a commit and its ancestors, newest first."""
        commit: Commit | None = start
        while commit is not None:
            yield commit
            commit = self.commits[commit.parents[0]] if commit.parents else None

    def advance(self, branch: str, commit: Commit) -> None:
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
