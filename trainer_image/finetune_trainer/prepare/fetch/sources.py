"""`hf://` and `pvc://` sources as local folders at a pinned revision."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from finetune_api.reasons import Reason
from finetune_api.sources import ClaimSource, HubSource, parse_source
from finetune_trainer.hub.client import Api
from finetune_trainer.prepare.fetch.claims import copy_files, find_claim_folder, list_files
from finetune_trainer.prepare.fetch.heads import Repository, fetch_heads
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
    """Commit, or a hash over all content for a volume claim."""


@dataclass(frozen=True)
class Kind:
    """What a source is, the reason to give where it cannot be had, and which of its files count."""

    name: str
    missing: Reason
    select: Select


MODEL = Kind("model", Reason.MODEL_NOT_FOUND, select_model_files)
DATASET = Kind("dataset", Reason.DATASET_NOT_FOUND, list)


@dataclass(frozen=True)
class Sources:
    """Where sources come from, and the scratch folder for datasets."""

    api: Api
    mounts: Path
    scratch: Path

    def resolve(self, kind: Kind, source: str, *, revision: str) -> str:
        """Return the commit, or a hash over all content of a claim's folder; nothing is fetched.

        Fails with ModelNotFound or DatasetNotFound, HubUnavailable or TokenRefused.
        """
        parsed = _parse(source)
        if isinstance(parsed, ClaimSource):
            return content_hash(*self._on_claim(kind, parsed))
        commit = resolve_commit(self.api, Wanted(parsed.repository, kind.name, revision, kind.missing))
        _log.info("source found", extra={"source": source, "commit": commit})
        return commit

    def fetch_model(self, source: str, *, commit: str, folder: Path) -> Fetched:
        """Make `folder` hold the model as it was resolved; fails as `resolve` does."""
        parsed = _parse(source)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(parsed, ClaimSource):
            copy_files(*self._on_claim(MODEL, parsed), target=folder)
        else:
            pinned = Wanted(parsed.repository, MODEL.name, commit, MODEL.missing)
            fetch_snapshot(self.api, pinned, folder=folder, select=MODEL.select)
        return Fetched(folder, commit)

    def fetch_dataset(self, source: str, *, commit: str, splits: Mapping[Split, int | None]) -> Fetched:
        """Return the folder of the dataset as it was resolved; fails as `resolve` does.

        Files of the Hub that hold other splits than `splits` are empty, where that can be told from their names. Of
        parquet files there are no more than so many of the first rows of a split, None for all.
        """
        parsed = _parse(source)
        if isinstance(parsed, ClaimSource):
            return Fetched(self._on_claim(DATASET, parsed)[0], commit)
        folder = self.scratch / "repositories" / parsed.repository.replace("/", "--") / commit
        pinned = Wanted(parsed.repository, DATASET.name, commit, DATASET.missing)
        self._fetch_splits(pinned, splits, folder=folder)
        return Fetched(folder, commit)

    def _on_claim(self, kind: Kind, source: ClaimSource) -> tuple[Path, list[str]]:
        """Return a claim's folder and the files of it that count."""
        folder = find_claim_folder(source, mounts=self.mounts, missing=kind.missing)
        return folder, kind.select(list_files(folder, mount=self.mounts / source.claim, missing=kind.missing))

    def _fetch_splits(self, pinned: Wanted, splits: Mapping[Split, int | None], *, folder: Path) -> None:
        outline = folder.with_name(f"{folder.name}-outline")
        outline.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        listed: list[str] = []

        def descriptions(paths: list[str]) -> list[str]:
            listed.extend(select_dataset_files(paths))
            return select_descriptions(listed)

        fetch_snapshot(self.api, pinned, folder=outline, select=descriptions)
        files_of = find_split_files(listed, splits, outline=outline)
        if files_of is None:
            fetch_snapshot(self.api, pinned, folder=folder, select=lambda _: listed)
            return
        with told(pinned):
            heads = fetch_heads(Repository.of(self.api, pinned), files_of, splits, folder=folder)
        whole = {*select_descriptions(listed), *chain.from_iterable(files_of.values())} - heads
        fetch_snapshot(self.api, pinned, folder=folder, select=lambda _: sorted(whole), spare=heads)
        lay_placeholders(folder, listed)


def _parse(source: str) -> HubSource | ClaimSource:
    try:
        return parse_source(source)
    except ValueError as error:
        raise RunFailure(Reason.INVALID_SPEC, str(error)) from error
