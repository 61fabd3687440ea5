"""Checkpoints of one training: `step-000100/` is whole and verifiable, or it is not there."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from finetune_api.status import CheckpointStatus
from finetune_trainer.checkpoints.fence import Fence
from finetune_trainer.checkpoints.folder import remove_unfinished, whole_folder
from finetune_trainer.checkpoints.verify import MANIFEST, CheckpointManifest, find_damage, hash_files, read_manifest
from finetune_trainer.report.clock import now

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    path: Path
    status: CheckpointStatus


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints below one folder. Used by the writer alone."""

    folder: Path
    fence: Fence
    keep: int
    spec_hash: str
    world_size: int
    warn: Callable[[str], None] = lambda _: None
    """Takes what the user should know of: checkpoints that were skipped."""

    @contextlib.contextmanager
    def write(self, step: int) -> Iterator[Path]:
        """Yield an empty folder to fill; at the end it is checked in as the checkpoint of `step`, and old ones go."""
        target = self.folder / f"step-{step:06}"
        with whole_folder(target) as aside:
            yield aside
            manifest = CheckpointManifest(
                step=step, world_size=self.world_size, spec_hash=self.spec_hash, time=now(), files=hash_files(aside)
            )
            (aside / MANIFEST).write_text(manifest.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
            self.fence.check()
        for old in self._superseded():
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that verifies; others are skipped with a warning."""
        remove_unfinished(self.folder)
        for path in self._paths():
            manifest = read_manifest(path)
            problem = self._problem(path, manifest)
            if manifest is not None and problem is None:
                return Checkpoint(path=path, status=CheckpointStatus(step=manifest.step, time=manifest.time))
            self.warn(f"checkpoint {path.name} was skipped: {problem}")
            logger.warning("checkpoint skipped", extra={"checkpoint": path.name, "problem": problem})
        return None

    def _superseded(self) -> list[Path]:
        """Return what no resume needs: old and damaged checkpoints. Those of another spec are somebody else's."""
        manifests = {path: read_manifest(path) for path in self._paths()}
        own = [path for path, manifest in manifests.items() if manifest and manifest.spec_hash == self.spec_hash]
        damaged = [path for path, manifest in manifests.items() if manifest is None]
        return [*own[self.keep :], *damaged]

    def _problem(self, path: Path, manifest: CheckpointManifest | None) -> str | None:
        if manifest is None:
            return "its manifest is missing or damaged"
        if manifest.spec_hash != self.spec_hash:
            return "it belongs to another spec"
        if manifest.world_size != self.world_size:
            return (
                f"it was written by {manifest.world_size} ranks, and {self.world_size} cannot continue its data order"
            )
        return find_damage(path, manifest)

    def _paths(self) -> list[Path]:
        """Return checkpoints, newest first."""
        return sorted(self.folder.glob("step-*"), key=lambda path: path.name, reverse=True)
