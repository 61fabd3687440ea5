"""Objects below a path of a bucket as a source: known by sizes and ETags, fetched as long as these are the same."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import PreconditionError

from finetune_api.reasons import Reason
from finetune_api.sources import BucketSource
from finetune_trainer.buckets.clients import Bucket
from finetune_trainer.buckets.errors import told_as_failures
from finetune_trainer.buckets.tags import still
from finetune_trainer.prepare.fetch.snapshot import Select
from finetune_trainer.workspace.failures import RunFailure

if TYPE_CHECKING:
    from obstore import ObjectMeta

_WORKERS = 8
_CHUNK_BYTES = 8 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """What counts of a source, as it is there now."""

    bucket: Bucket
    objects: Mapping[str, "ObjectMeta"]
    """By the path of the file that it becomes."""
    missing: Reason

    @property
    def revision(self) -> str:
        """Return one hash over names, sizes and ETags; whoever writes an object anew changes it."""
        lines = (
            f"{meta['size']} {meta['e_tag'] or meta['last_modified']}  {path}\n" for path, meta in self.objects.items()
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def fetch(self, *, folder: Path, select: Select, spare: Collection[str] = ()) -> list[str]:  # noqa: ARG002 - all is spared
        """Make `folder` hold the files that `select` picks, and return their paths.

        A file that is there with its size is taken for whole: `folder` is that of one revision. Fails with
        HubUnavailable where an object is not what was listed any more.
        """
        paths = select(list(self.objects))
        with (
            told_as_failures(f"fetching {self.bucket.source}", self.bucket, refused=self.missing),
            ThreadPoolExecutor(_WORKERS) as pool,
        ):
            for _ in pool.map(lambda path: self._fetch_file(path, folder / path), paths):
                pass
        return paths

    def _fetch_file(self, path: str, target: Path) -> None:
        meta = self.objects[path]
        if target.is_file() and target.stat().st_size == meta["size"]:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        try:
            answer = obstore.get(self.bucket.store, meta["path"], options=still(meta["e_tag"]))
            with partial.open("wb") as file:
                for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
                    file.write(chunk)
        except (PreconditionError, FileNotFoundError) as error:
            raise changed(self.bucket.source) from error
        partial.rename(target)
        _log.info("file fetched", extra={"source": str(self.bucket.source), "path": path, "bytes": meta["size"]})


def list_objects(bucket: Bucket, *, select: Select, missing: Reason) -> Listing:
    """Return what is below the source's path, or the one object there, as far as `select` picks it.

    Fails with `missing` if that is nothing.
    """
    source = bucket.source
    with told_as_failures(f"reading {source}", bucket, refused=missing):
        below = [meta for page in obstore.list(bucket.store, source.path or None) for meta in page]
        found = {meta["path"].removeprefix(source.path).lstrip("/"): meta for meta in below}
        if not found and source.path:
            found = {PurePosixPath(source.path).name: obstore.head(bucket.store, source.path)}
    # Consoles make a "folder" by an empty object of its name.
    folders = {str(parent) for path in found for parent in PurePosixPath(path).parents} | {""}
    paths = select(sorted(set(found) - folders))
    if not paths:
        raise RunFailure(missing, f"{source} holds no file that can be used; name a path with files below it")
    return Listing(bucket, {path: found[path] for path in paths}, missing)


def changed(source: BucketSource) -> RunFailure:
    """Return that a source is not what it was when it was resolved; the next try takes it as it is then."""
    message = f"{source} was changed while it was fetched; wait until it stays as it is"
    return RunFailure(Reason.HUB_UNAVAILABLE, message)
