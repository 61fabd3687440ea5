"""`hf://`, `pvc://` and `s3://` sources as local folders at a pinned revision."""

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from finetune_api.reasons import Reason
from finetune_api.sources import BucketSource, ClaimSource, Source, parse_source
from finetune_trainer.buckets.clients import connect
from finetune_trainer.hub.client import Api
from finetune_trainer.prepare.fetch.claims import copy_files, find_claim_folder, list_files
from finetune_trainer.prepare.fetch.heads import Repository, fetch_heads
from finetune_trainer.prepare.fetch.objects import Listing, changed, list_objects
from finetune_trainer.prepare.fetch.selection import select_dataset_files, select_model_files
from finetune_trainer.prepare.fetch.snapshot import Select, Wanted, fetch_snapshot, resolve_commit, told
from finetune_trainer.prepare.fetch.split_files import Split, find_split_files, lay_placeholders, select_descriptions
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.hashes import content_hash

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """A source as it lies on disk."""

    folder: Path
    revision: str
    """Commit, or a hash: over all content of a claim's folder, over names, sizes and ETags in a bucket."""


@dataclass(frozen=True)
class Kind:
    """What a source is, the reason to give where it cannot be had, and which of its files count."""

    name: str
    missing: Reason
    select: Select


MODEL = Kind("model", Reason.MODEL_NOT_FOUND, select_model_files)
DATASET = Kind("dataset", Reason.DATASET_NOT_FOUND, list)
#: What the spec says where it says nothing.
_WHATEVER_IS_THERE = "main"


@dataclass(frozen=True)
class Sources:
    """Where sources come from, and the scratch folder for datasets."""

    api: Api
    mounts: Path
    secret: Path
    """Of buckets, a file for each key."""
    scratch: Path

    def resolve(self, kind: Kind, source: str, *, revision: str) -> str:
        """Return the commit, or a hash over a claim's folder or what is in a bucket; nothing is fetched.

        Fails with ModelNotFound or DatasetNotFound, HubUnavailable or TokenRefused.
        """
        parsed = _parse(source)
        if isinstance(parsed, ClaimSource):
            return content_hash(*self._on_claim(kind, parsed))
        if isinstance(parsed, BucketSource):
            return self._named(kind, parsed, revision)
        commit = resolve_commit(self.api, Wanted(parsed.repository, kind.name, revision, kind.missing))
        _log.info("source found", extra={"source": source, "commit": commit})
        return commit

    def fetch_model(self, source: str, *, commit: str, folder: Path) -> Fetched:
        """Make `folder` hold the model as it was resolved; fails as `resolve` does."""
        parsed = _parse(source)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(parsed, ClaimSource):
            copy_files(*self._on_claim(MODEL, parsed), target=folder)
        elif isinstance(parsed, BucketSource):
            own = self.scratch / "buckets" / commit
            paths = self._as_resolved(MODEL, parsed, commit).fetch(folder=own, select=list)
            copy_files(own, paths, target=folder, copy=_link)
        else:
            pinned = Wanted(parsed.repository, MODEL.name, commit, MODEL.missing)
            fetch_snapshot(self.api, pinned, folder=folder, select=MODEL.select)
        return Fetched(folder, commit)

    def fetch_dataset(self, source: str, *, commit: str, splits: Mapping[Split, int | None]) -> Fetched:
        """Return the folder of the dataset as it was resolved; fails as `resolve` does.

        Files that hold other splits than `splits` are empty, where that can be told from their names; on a claim all
        are there. Of parquet files of the Hub there are no more than so many of the first rows of a split, None for
        all.
        """
        parsed = _parse(source)
        if isinstance(parsed, ClaimSource):
            return Fetched(self._on_claim(DATASET, parsed)[0], commit)
        if isinstance(parsed, BucketSource):
            folder = self.scratch / "buckets" / commit
            _fetch_splits(self._as_resolved(DATASET, parsed, commit).fetch, splits, folder=folder)
            return Fetched(folder, commit)
        folder = self.scratch / "repositories" / parsed.repository.replace("/", "--") / commit
        pinned = Wanted(parsed.repository, DATASET.name, commit, DATASET.missing)

        def heads(files_of: dict[Split, list[str]]) -> set[str]:
            with told(pinned):
                return fetch_heads(Repository.of(self.api, pinned), files_of, splits, folder=folder)

        _fetch_splits(partial(fetch_snapshot, self.api, pinned), splits, folder=folder, heads=heads)
        return Fetched(folder, commit)

    def _on_claim(self, kind: Kind, source: ClaimSource) -> tuple[Path, list[str]]:
        """Return a claim's folder and the files of it that count."""
        folder = find_claim_folder(source, mounts=self.mounts, missing=kind.missing)
        return folder, kind.select(list_files(folder, mount=self.mounts / source.claim, missing=kind.missing))

    def _in_bucket(self, kind: Kind, source: BucketSource) -> Listing:
        bucket = connect(source, secret=self.secret, field="spec.buckets.secretName")
        return list_objects(bucket, select=kind.select, missing=kind.missing)

    def _named(self, kind: Kind, source: BucketSource, revision: str) -> str:
        """Return the revision of what is in a bucket; fails with `kind.missing` where another one is named."""
        found = self._in_bucket(kind, source).revision
        if revision not in (_WHATEVER_IS_THERE, found):
            message = f"{source} is at revision {found}, and not at {revision} any more; name that one, or leave it out"
            raise RunFailure(kind.missing, message)
        _log.info("source found", extra={"source": str(source), "commit": found})
        return found

    def _as_resolved(self, kind: Kind, source: BucketSource, commit: str) -> Listing:
        listing = self._in_bucket(kind, source)
        if listing.revision != commit:
            raise changed(source)
        return listing


def _fetch_splits(
    fetch: Callable[..., object],
    splits: Mapping[Split, int | None],
    *,
    folder: Path,
    heads: Callable[[dict[Split, list[str]]], set[str]] = lambda _: set(),
) -> None:
    """Fetch the files of `splits`; `heads` fetches the first rows of some of them, and returns which."""
    outline = folder.with_name(f"{folder.name}-outline")
    outline.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    listed: list[str] = []

    def descriptions(paths: list[str]) -> list[str]:
        listed.extend(select_dataset_files(paths))
        return select_descriptions(listed)

    fetch(folder=outline, select=descriptions)
    files_of = find_split_files(listed, splits, outline=outline)
    if files_of is None:
        fetch(folder=folder, select=lambda _: listed)
        return
    begun = heads(files_of)
    whole = {*select_descriptions(listed), *chain.from_iterable(files_of.values())} - begun
    fetch(folder=folder, select=lambda _: sorted(whole), spare=begun)
    lay_placeholders(folder, listed)


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file where the volume can: a model lies there once."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _parse(source: str) -> Source:
    try:
        return parse_source(source)
    except ValueError as error:
        raise RunFailure(Reason.INVALID_SPEC, str(error)) from error
