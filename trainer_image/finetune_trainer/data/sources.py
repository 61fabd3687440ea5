"""`hf://` and `pvc://` sources as local folders at a pinned revision."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from finetune_api.reasons import Reason
from finetune_api.sources import ClaimSource, HubSource, parse_source
from finetune_trainer.data.claims import copy_files, find_claim_folder, list_files
from finetune_trainer.data.hashes import content_hash
from finetune_trainer.data.selection import select_dataset_files, select_model_files
from finetune_trainer.data.split_files import Split, lay_placeholders, select_descriptions, select_splits
from finetune_trainer.failures import RunFailure
from finetune_trainer.hub.client import Api
from finetune_trainer.hub.snapshot import Wanted, fetch_snapshot, resolve_commit

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """A source as it lies on disk."""

    folder: Path
    revision: str
    """Commit, or a hash over all content for a volume claim."""


@dataclass(frozen=True)
class Sources:
    """Where sources come from, and the scratch folder for datasets."""

    api: Api
    mounts: Path
    scratch: Path

    def fetch_model(self, source: str, *, revision: str, folder: Path) -> Fetched:
        """Make `folder` hold the model; fails with ModelNotFound, HubUnavailable or TokenRefused."""
        missing = Reason.MODEL_NOT_FOUND
        parsed = _parse(source)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(parsed, ClaimSource):
            origin = find_claim_folder(parsed, mounts=self.mounts, missing=missing)
            paths = select_model_files(list_files(origin, mount=self.mounts / parsed.claim, missing=missing))
            copy_files(origin, paths, target=folder)
            return Fetched(folder, content_hash(folder, paths))
        wanted = Wanted(parsed.repository, "model", revision, missing)
        commit = resolve_commit(self.api, wanted)
        _log.info("model found", extra={"source": source, "commit": commit})
        fetch_snapshot(self.api, replace(wanted, revision=commit), folder=folder, select=select_model_files)
        return Fetched(folder, commit)

    def fetch_dataset(self, source: str, *, revision: str, splits: Collection[Split]) -> Fetched:
        """Return the dataset's folder; fails with DatasetNotFound, HubUnavailable or TokenRefused.

        Files of the Hub that hold other splits than `splits` are empty, where that can be told from their names.
        """
        missing = Reason.DATASET_NOT_FOUND
        parsed = _parse(source)
        if isinstance(parsed, ClaimSource):
            origin = find_claim_folder(parsed, mounts=self.mounts, missing=missing)
            paths = list_files(origin, mount=self.mounts / parsed.claim, missing=missing)
            return Fetched(origin, content_hash(origin, paths))
        wanted = Wanted(parsed.repository, "dataset", revision, missing)
        commit = resolve_commit(self.api, wanted)
        _log.info("dataset found", extra={"source": source, "commit": commit})
        folder = self.scratch / "repositories" / parsed.repository.replace("/", "--") / commit
        self._fetch_splits(replace(wanted, revision=commit), splits, folder=folder)
        return Fetched(folder, commit)

    def _fetch_splits(self, pinned: Wanted, splits: Collection[Split], *, folder: Path) -> None:
        outline = folder.with_name(f"{folder.name}-outline")
        outline.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        listed: list[str] = []

        def descriptions(paths: list[str]) -> list[str]:
            listed.extend(select_dataset_files(paths))
            return select_descriptions(listed)

        fetch_snapshot(self.api, pinned, folder=outline, select=descriptions)
        needed = select_splits(listed, splits, outline=outline)
        fetch_snapshot(self.api, pinned, folder=folder, select=lambda _: needed)
        lay_placeholders(folder, listed)


def _parse(source: str) -> HubSource | ClaimSource:
    try:
        return parse_source(source)
    except ValueError as error:
        raise RunFailure(Reason.INVALID_SPEC, str(error)) from error
