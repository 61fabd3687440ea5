"""Checkpoints of one training: `step-000100/` is whole and verifiable, or it is not there."""

import contextlib
import itertools
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finetune_api.status import CheckpointStatus
from finetune_trainer.train.checkpoints.parts import INDEX
from finetune_trainer.workspace.clock import now
from finetune_trainer.workspace.fence import Fence
from finetune_trainer.workspace.folder import remove_unfinished, unfinished
from finetune_trainer.workspace.manifest import FileHash
from finetune_trainer.workspace.verify import MANIFEST, CheckpointManifest, find_damage, hash_files, read_manifest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    path: Path
    status: CheckpointStatus
    world_size: int
    """Ranks that wrote it."""
    began_with: int
    """Ranks that the training began with, whose batches it keeps."""


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints below one folder. Used by the writer alone."""

    folder: Path
    fence: Fence
    keep: int
    run: str
    world_size: int
    began_with: int = 0
    """Ranks that the training began with; 0: these."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """What writes now, by package."""
    warn: Callable[[str], None] = lambda _: None
    """Takes what the user should know of: checkpoints that were skipped."""
    _verified: set[Path] = field(default_factory=set)
    """Those that this process has written, or read whole."""

    def aside(self, step: int) -> Path:
        """Return where the checkpoint of `step` lies while it is being written."""
        return unfinished(self._target(step), attempt=self.fence.me.attempt)

    @contextlib.contextmanager
    def write(self, step: int, *, hashed: Sequence[FileHash] = ()) -> Iterator[Path]:
        """Yield an empty folder to fill; at the end it is checked in as the checkpoint of `step`, and old ones go.

        Files that are in `hashed` by then are not read back.
        """
        with self.fence.whole_folder(self._target(step)) as aside:
            yield aside
            manifest = CheckpointManifest(
                step=step,
                world_size=self.world_size,
                began_with=self.began_with or self.world_size,
                run=self.run,
                time=now(),
                files=hash_files(aside, known=hashed),
                versions=dict(self.versions),
            )
            (aside / MANIFEST).write_text(manifest.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
        self._verified.add(self._target(step))
        for old in self._superseded(step):
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that verifies; others are skipped with a warning."""
        remove_unfinished(self.folder)
        for path in self._paths():
            manifest = read_manifest(path)
            problem = self._problem(path, manifest)
            if manifest is not None and problem is None:
                self._verified.add(path)
                self._compare_versions(path, manifest)
                status = CheckpointStatus(step=manifest.step, time=manifest.time)
                return Checkpoint(path, status, manifest.world_size, manifest.began_with or manifest.world_size)
            self.warn(f"checkpoint {path.name} was skipped: {problem}")
            logger.warning("checkpoint skipped", extra={"checkpoint": path.name, "problem": problem})
        return None

    def _target(self, step: int) -> Path:
        return self.folder / f"step-{step:06}"

    def _superseded(self, newest: int) -> list[Path]:
        """Return what no resume needs once `newest` is written. Those of another run are somebody else's.

        Those of later steps are what training could not resume from when it went back before them. They count for
        nothing: were they taken for the newest, each new checkpoint would be removed until it has passed them. Nor does
        one that does not verify: it would push out one that does.
        """
        manifests = {path: read_manifest(path) for path in self._paths()}
        own = {path: manifest for path, manifest in manifests.items() if manifest and manifest.run == self.run}
        usable = (path for path, one in own.items() if one.step <= newest and self._is_verified(path, one))
        kept = set(itertools.islice(usable, self.keep))
        damaged = [path for path, manifest in manifests.items() if manifest is None]
        return [path for path in (*own, *damaged) if path not in kept]

    def _is_verified(self, path: Path, manifest: CheckpointManifest) -> bool:
        """Return whether a checkpoint is whole; each is read once at most."""
        if path not in self._verified and find_damage(path, manifest.files) is None:
            self._verified.add(path)
        return path in self._verified

    def _problem(self, path: Path, manifest: CheckpointManifest | None) -> str | None:
        if manifest is None:
            return "its manifest is missing or damaged"
        if manifest.run != self.run:
            return "it belongs to another run"
        if INDEX not in {file.path for file in manifest.files}:
            return "an earlier version of the trainer wrote it, in another form"
        return find_damage(path, manifest.files)

    def _compare_versions(self, path: Path, manifest: CheckpointManifest) -> None:
        """Tell of a training that goes on under other libraries; it is no reason to begin anew."""
        before, after = manifest.versions, self.versions
        changed = [name for name in sorted({*before, *after}) if before and before.get(name) != after.get(name)]
        if changed:
            changes = ", ".join(f"{name} {before.get(name)} to {after.get(name)}" for name in changed)
            self.warn(
                f"training goes on from {path.name} under other versions ({changes}); numbers may differ from those of "
                "a run under one"
            )

    def _paths(self) -> list[Path]:
        """Return checkpoints, newest first."""
        return sorted(self.folder.glob("step-*"), key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    """Return the step in a checkpoint's name; from a million on it has more digits than the others."""
    number = path.name.removeprefix("step-")
    return int(number) if number.isdecimal() else -1
