"""Whose workspace it is: which run, and which gang of it, may write.

A gang that is cut off with its node may live on, and must not touch its successor's files. Two jobs may be given one
folder of one claim: the second is refused while the first writes, and what an ended one left is set aside, not removed.
"""

import contextlib
import fcntl
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from finetune_api.base import Contract
from finetune_api.contract import RunConfig, spec_part
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.folder import whole_folder
from finetune_trainer.workspace.whole_file import sync, write_whole

logger = logging.getLogger(__name__)


class Owner(Contract):
    """The run that a workspace belongs to."""

    run: str
    """What is trained: the run's id, or its beginning until prepare has resolved the sources."""
    namespace: str
    name: str
    uid: str
    attempt: int = 0
    """The gang that may write; 0 before the first."""

    def is_same_job(self, other: "Owner") -> bool:
        """Tell whether it is the same run of the same job, whatever the gang."""
        return self.uid == other.uid and self.is_same_run(other.run)

    def is_same_run(self, run: str) -> bool:
        """Tell whether what is trained may be the same, as far as both are known."""
        return self.run == run or (spec_part(run) == spec_part(self.run) and not (_is_whole(run) and self.is_known))

    @property
    def is_known(self) -> bool:
        """Whether the whole id of the run is known."""
        return _is_whole(self.run)

    def __str__(self) -> str:
        return f"FinetuneJob {self.namespace}/{self.name} (run {self.run})"


def read_owner(workspace: Workspace) -> Owner | None:
    """Return whose workspace it is, or None if nobody has had it."""
    try:
        return Owner.model_validate_json(workspace.owner.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


@dataclass(frozen=True)
class Fence:
    """One run's, and one gang's, hold on a workspace."""

    workspace: Workspace
    me: Owner

    @classmethod
    def of(cls, workspace: Workspace, config: RunConfig, *, run: str = "", attempt: int = 0) -> "Fence":
        """Return the fence of a run, whose id prepare does not know yet; outside training there is no attempt."""
        job = config.job
        me = Owner(run=run or config.spec_hash, namespace=job.namespace, name=job.name, uid=job.uid, attempt=attempt)
        return cls(workspace, me)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have the workspace while inside.

        Raises:
            RunFailure: WorkspaceInUse while a process of another run is inside, PeerLost once a newer gang of this run
                was.

        """
        self.workspace.root.mkdir(parents=True, exist_ok=True)
        with self.workspace.lock.open("a+b") as lock:  # the lock goes with the file, however this process ends
            theirs = read_owner(self.workspace)
            if theirs is not None and theirs.is_same_job(self.me):
                self._go_on(lock, theirs)
            else:
                self._take_over(lock, theirs)
            self._bring_back(self.me.run)
            yield

    def settle(self, run: str) -> None:
        """Say inside `held` which run it is, now that its sources are known.

        What this spec has made of other sources is set aside; what it had made of these is brought back.
        """
        owner = read_owner(self.workspace) or self.me
        if owner.is_known and owner.run != run:
            self._set_aside(owner)
        self._write(owner, run=run)
        self._bring_back(run)

    def check(self) -> None:
        """Raise RunFailure unless this gang still has the workspace; call right before anything becomes visible."""
        owner = read_owner(self.workspace)
        if owner is not None and not owner.is_same_job(self.me):
            raise in_use(owner)
        if owner is None or owner.attempt != self.me.attempt:
            raise self._overtaken(0 if owner is None else owner.attempt)

    def whole_folder(self, target: Path) -> contextlib.AbstractContextManager[Path]:
        """Give a folder to fill that becomes `target` if this gang still has the workspace by then."""
        return whole_folder(target, attempt=self.me.attempt, check=self.check)

    def _go_on(self, lock: IO[bytes], before: Owner) -> None:
        if 0 < self.me.attempt < before.attempt:
            raise self._overtaken(before.attempt)
        if not _has_locked(lock, fcntl.LOCK_SH):
            raise in_use(before)
        self._write(self.me, attempt=self.me.attempt or before.attempt, run=self._run_after(before))

    def _take_over(self, lock: IO[bytes], theirs: Owner | None) -> None:
        """Make the workspace this run's, unless a process of another one is inside now."""
        if not _has_locked(lock, fcntl.LOCK_EX):
            raise in_use(read_owner(self.workspace) or theirs)
        theirs = read_owner(self.workspace)  # whoever was faster than us has left meanwhile
        if theirs is not None and not self.me.is_same_run(theirs.run):
            self._set_aside(theirs)
        self._write(self.me, run=self._run_after(theirs))
        if not _has_locked(lock, fcntl.LOCK_SH):
            raise in_use(read_owner(self.workspace))

    def _set_aside(self, theirs: Owner) -> None:
        """Move what another run has made out of the way. Whoever is killed on the way does the rest the next time."""
        aside = self.workspace.earlier(theirs.run)
        for folder in self.workspace.made:
            if folder.exists():
                aside.mkdir(parents=True, exist_ok=True)
                folder.rename(_free_name(aside / folder.name))
        if aside.exists():
            write_whole(aside / self.workspace.owner.name, theirs.model_dump_json(by_alias=True))
            sync(aside.parent)
            logger.warning("an earlier run was set aside", extra={"run": str(theirs), "folder": str(aside)})

    def _run_after(self, before: Owner | None) -> str:
        """Return whose files lie here, as far as that is known."""
        is_told = before is not None and before.is_known and self.me.is_same_run(before.run)
        return before.run if before is not None and is_told else self.me.run

    def _bring_back(self, run: str) -> None:
        """Go on with what this very run had made before another one came in between."""
        for folder in self.workspace.made:
            kept = self.workspace.earlier(run) / folder.name
            if kept.exists() and not folder.exists():
                kept.rename(folder)

    def _write(self, owner: Owner, **update: object) -> None:
        owner = owner.model_copy(update=update)
        write_whole(self.workspace.owner, owner.model_dump_json(by_alias=True, indent=1) + "\n")

    def _overtaken(self, attempt: int) -> RunFailure:
        text = f"attempt {attempt} writes to the workspace now; attempt {self.me.attempt} ends"
        return RunFailure(Reason.PEER_LOST, text)


def _is_whole(run: str) -> bool:
    return spec_part(run) != run


def in_use(owner: Owner | None) -> RunFailure:
    """Return the failure of a run whose workspace is another one's."""
    who = owner or "another process"
    next_step = GUIDANCE[Reason.WORKSPACE_IN_USE].next_step
    return RunFailure(Reason.WORKSPACE_IN_USE, f"the workspace is used by {who}. {next_step}")


def earlier_runs(workspace: Workspace) -> list[str]:
    """Return what people should know of runs that were set aside in this workspace."""
    aside = sorted(path for path in workspace.earlier("").glob("*") if path.is_dir())
    return [
        f"the folder also holds an earlier run, set aside in {path.relative_to(workspace.root)}; it takes room until "
        "somebody removes it"
        for path in aside
    ]


def _free_name(path: Path) -> Path:
    names = itertools.chain([path], (path.with_name(f"{path.name}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not name.exists())


def _has_locked(lock: IO[bytes], kind: int) -> bool:
    """Tell whether the lock was got; a file system without locks has the owner's file alone to go by."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        logger.warning("the workspace cannot be locked", extra={"error": error.strerror})
    return True
