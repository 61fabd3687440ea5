"""Saves checkpoints: training stands still while its state is copied, and goes on while the copy is written."""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, cast

import torch
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from finetune_api.contract import Stage
from finetune_api.status import CheckpointStatus
from finetune_trainer.train.checkpoints.parts import write_part
from finetune_trainer.train.checkpoints.store import CheckpointStore
from finetune_trainer.train.loop.trainer import GangTrainer
from finetune_trainer.train.report.history import History
from finetune_trainer.train.session import Session
from finetune_trainer.workspace.clock import now
from finetune_trainer.workspace.manifest import FileHash
from finetune_trainer.workspace.report import HISTORY

logger = logging.getLogger(__name__)
#: How long a training that has failed waits for the checkpoint that is being written.
LAST_PATIENCE_SECONDS = 30


class Saver:
    """Every rank has one and calls it after the same steps; each writes its part, and the writer the rest.

    One checkpoint at a time: the next one waits until the one before is on the volume. Leaving the context does, too.
    """

    def __init__(self, session: Session, trainer: GangTrainer, store: CheckpointStore, *, in_background: bool) -> None:
        """Set up saving.

        Args:
            session: of this rank.
            trainer: whose state it is.
            store: takes the checkpoints.
            in_background: copy, and write while training goes on; else training stands still for all of it.

        """
        self._session = session
        self._trainer = trainer
        self._store = store
        self._in_background = in_background
        # The copy stays: making room for it takes longer than filling it, and it is needed again.
        on_accelerator = session.ranks.device.type != "cpu"
        self._stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=on_accelerator,
                use_shared_memory=False,
                use_async_staging=False,
                use_non_blocking_copy=on_accelerator,
            )
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    @property
    def is_writing(self) -> bool:
        """Whether a checkpoint is being written now."""
        return self._writing is not None and not self._writing.done()

    @property
    def has_failed(self) -> bool:
        """Whether the checkpoint that was to be written could not be; `finish` says why."""
        return self._writing is not None and self._writing.done() and self._writing.exception() is not None

    def save(self, step: int) -> None:
        """Write the checkpoint of `step`; in the background this returns once it is copied.

        Raises:
            Exception: what kept this one from being written, or the one before.

        """
        begun = time.monotonic()
        with self._session.tracker.stage(Stage.SAVING):
            self.finish()
            files = {**self._trainer.files(), HISTORY: self._session.tracker.history.content()}
            part = self._trainer.part()
            if self._in_background:
                part = cast("dict[str, torch.Tensor]", self._stager.stage(part))
                self._writing = self._thread.submit(self._write, step, part, files, begun, time.monotonic())
            else:
                self._write(step, part, files, begun, None)

    def finish(self) -> None:
        """Wait until the checkpoint that is being written is on the volume.

        Raises:
            Exception: what kept it from being written, on every rank.

        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(
        self,
        step: int,
        part: Mapping[str, torch.Tensor],
        files: Mapping[str, bytes],
        begun: float,
        went_on: float | None,
    ) -> None:
        """Write, hash and check in the checkpoint; on every rank, beside training."""
        hashed: list[FileHash] = []
        with contextlib.ExitStack() as stack:

            def begin() -> None:
                folder = stack.enter_context(self._store.write(step, hashed=hashed))
                for name, content in files.items():
                    (folder / name).write_bytes(content)

            def end(parts: Sequence[FileHash]) -> None:
                hashed.extend(parts)
                stack.close()

            write_part(part, self._store.aside(step), group=self._session.ranks.background, begin=begin, end=end)
        if self._session.ranks.is_writer:
            written = time.monotonic()
            seconds = {"save_seconds": written - begun, "pause_seconds": (went_on or written) - begun}
            seconds = {name: round(value, 2) for name, value in seconds.items()}
            checkpoint = CheckpointStatus(step=step, time=now(), **seconds)
            self._session.tracker.saved(checkpoint, History.model_validate_json(files[HISTORY]))
            logger.info("checkpoint", extra={"step": step, **seconds})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Wait for the last checkpoint; after a failure, of which there is more to be told, only for a while."""
        if kind is None:
            self.finish()
        elif self._writing is not None:
            with contextlib.suppress(TimeoutError):
                if error := self._writing.exception(timeout=LAST_PATIENCE_SECONDS):
                    logger.error("checkpoint failed", exc_info=error)
