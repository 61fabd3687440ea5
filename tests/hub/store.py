"""All repositories of the Hub, in memory and on disk, so that a restarted server goes on where it was."""

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tests.hub.attributes import DEFAULT_ATTRIBUTES
from tests.hub.errors import conflict, repository_not_found
from tests.hub.git_objects import blob_id
from tests.hub.history import Commit, File, Kind, Note, Repository, Visibility, make_commit
from tests.hub.names import check_repository_name
from tests.hub.objects import Objects


class Store:
    """Repositories under `directory/repositories`, their contents under `directory/objects`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "repositories"
        self.objects = Objects(directory)
        self._repositories = {_key(found.kind, found.id): found for found in map(_read, self._directory.glob("*/*/*"))}

    def find(self, kind: Kind, repo_id: str) -> Repository | None:
        found = self._repositories.get(_key(kind, repo_id))
        return found if found is not None and found.id == repo_id else None

    def all(self, kind: Kind) -> Iterable[Repository]:
        newest_first = sorted(self._repositories.values(), key=lambda repository: repository.created, reverse=True)
        return [repository for repository in newest_first if repository.kind == kind]

    def create(self, kind: Kind, owner: str, name: str, *, visibility: Visibility, author: str) -> Repository:
        """Create a repository holding only `.gitattributes`; 409 when the name is taken, in whatever case."""
        check_repository_name(name)
        if _key(kind, f"{owner}/{name}") in self._repositories:
            raise conflict(f"You already created this {kind} repo")
        now = datetime.now(UTC)
        repository = Repository(kind=kind, owner=owner, name=name, created=now, visibility=visibility)
        note = Note(author, now, title="initial commit", description="")
        first = make_commit({".gitattributes": self.keep_file(DEFAULT_ATTRIBUTES)}, parent=None, note=note)
        self._repositories[_key(kind, repository.id)] = repository
        self.advance(repository, "main", first)
        return repository

    def delete(self, repository: Repository) -> None:
        if self._repositories.pop(_key(repository.kind, repository.id), None) is None:
            raise repository_not_found()
        shutil.rmtree(self._folder(repository))

    def clear(self) -> None:
        """Remove every repository; contents stay, since nothing names them any more."""
        for repository in list(self._repositories.values()):
            self.delete(repository)

    def keep_file(self, content: bytes) -> File:
        """Store the content of a small file and return the entry that a commit holds for it."""
        stored = self.objects.put(content)
        return File(sha256=stored.sha256, size=stored.size, blob=blob_id(content), is_large=False)

    def advance(self, repository: Repository, branch: str, commit: Commit) -> None:
        """Put a commit on top of a branch, on disk before it can be seen."""
        path = self._folder(repository) / "commits" / f"{commit.oid}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit.model_dump_json())
        repository.advance(branch, commit)
        self.save(repository)

    def save(self, repository: Repository) -> None:
        """Write settings and references; whoever reads them sees the old or the new ones, never a half."""
        folder = self._folder(repository)
        partial = folder / "repository.json.partial"
        partial.write_text(repository.model_dump_json())
        partial.replace(folder / "repository.json")

    def _folder(self, repository: Repository) -> Path:
        return self._directory / f"{repository.kind}s" / repository.owner / repository.name


def _key(kind: Kind, repo_id: str) -> tuple[Kind, str]:
    return kind, repo_id.lower()


def _read(folder: Path) -> Repository:
    repository = Repository.model_validate_json((folder / "repository.json").read_text())
    for path in (folder / "commits").iterdir():
        commit = Commit.model_validate_json(path.read_text())
        repository.commits[commit.oid] = commit
    return repository
