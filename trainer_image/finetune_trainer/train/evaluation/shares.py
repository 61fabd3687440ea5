# ruff: noqa: N806 - tensors carry their shape in their names
"""Work on many rows, shared among the ranks: each row is computed once, on one rank, and stays there.

All ranks work in rounds of about the same cost, so that none waits for another for longer than a batch takes.

Shapes: N rows of this rank, B of them in a batch, D numbers per row.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch.utils.data import DataLoader

from finetune_api.reasons import Reason
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.workspace.failures import RunFailure

logger = logging.getLogger(__name__)

Rounds = Sequence[Sequence[int]]
"""Row numbers of all ranks, round by round: a rank's batch is every n-th, from its own number on."""
LOG_SECONDS = 30
#: About 1000 tokens. A CPU is busy with that; more at once takes memory and is slower.
BYTES_AT_ONCE_ON_CPU = 4096


@dataclass(frozen=True)
class Shares:
    """How work is shared and batched."""

    ranks: Ranks
    batch_size: int
    """Images in a batch; of texts as many as are no longer together than so many of the longest."""
    workers: int = 0
    """Processes that read and prepare batches while others are computed."""
    autocast: torch.dtype | None = None
    """Precision of matrix products, as in training; None for that of the weights."""
    on_batch: Callable[[], None] = lambda: None
    """Called on every rank after the same number of batches; may end the run by raising on all of them."""

    def texts_in_rounds(self, order: Sequence[int], lengths: Sequence[int]) -> Rounds:
        """Return the rounds for texts of these lengths in bytes, longest first in `order`."""
        if not order:
            return []
        budget = self.batch_size * lengths[order[0]]
        if self.ranks.device.type == "cpu":
            budget = min(budget, BYTES_AT_ONCE_ON_CPU)
        rounds, start = [], 0
        while start < len(order):
            size = max(1, budget // max(1, lengths[order[start]])) * self.ranks.world_size
            rounds.append(order[start : start + size])
            start += size
        return rounds

    def in_rounds(self, order: Sequence[int]) -> Rounds:
        """Return the rounds for rows that cost alike, neighbours together."""
        size = self.batch_size * self.ranks.world_size
        return [order[start : start + size] for start in range(0, len(order), size)]

    def compute(
        self,
        rounds: Rounds,
        prepare: Callable[[Sequence[int]], Any],
        compute: Callable[[Any], torch.Tensor],
        *,
        what: str,
    ) -> torch.Tensor:
        """Return what `compute` makes of this rank's rows, round by round, as float32 (N, D) on its device.

        `prepare` makes its argument of the numbers of a batch, beside it where there are workers. `what` names the rows
        in the failure that numbers which are none end in.
        """
        batches = [one[self.ranks.rank :: self.ranks.world_size] for one in rounds]
        rows_ND, done, broken = torch.empty(0, 0), 0, 0
        progress = Progress(what, total=sum(map(len, rounds)))
        for whole, batch, prepared in zip(rounds, batches, self._load(batches, prepare), strict=True):
            if batch:
                with self._autocast():
                    rows_BD = compute(prepared).float()
                if not done:
                    rows_ND = rows_BD.new_empty(sum(map(len, batches)), rows_BD.shape[1])
                rows_ND[done : done + len(batch)] = rows_BD
                done += len(batch)
                broken += int((~torch.isfinite(rows_BD)).any(dim=1).sum())
            self.on_batch()
            progress.add(len(whole))
        found = self.ranks.gather((broken, rows_ND.shape[1]))
        require_numbers(sum(one for one, _ in found), progress.total, what)
        return rows_ND if done else torch.empty(0, max(width for _, width in found), device=self.ranks.device)

    def _load(self, batches: Sequence[Sequence[int]], prepare: Callable[[Sequence[int]], Any]) -> DataLoader[Any]:
        workers = min(self.workers, len(batches) - 1)  # the first batch has nothing to be prepared beside
        return DataLoader(
            batches,  # type: ignore[arg-type]  # a sequence is a data set
            batch_size=None,
            collate_fn=lambda batch: prepare(batch) if batch else None,
            num_workers=max(0, workers),
            prefetch_factor=1 if workers > 0 else None,
            pin_memory=self.ranks.device.type == "cuda",
            generator=torch.Generator(),  # the one of all is training's, which is to draw the same without evaluations
        )

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.ranks.device.type, dtype=self.autocast)


@dataclass
class Progress:
    """Logs now and then how much of a long evaluation is done."""

    what: str
    total: int
    done: int = 0
    told: float = field(default_factory=time.monotonic)

    def add(self, rows: int) -> None:
        """Count rows of all ranks."""
        self.done += rows
        if time.monotonic() > self.told + LOG_SECONDS:
            self.told = time.monotonic()
            logger.info("evaluating", extra={"what": self.what, "done": self.done, "total": self.total})


def require_numbers(broken: int, total: int, what: str) -> None:
    """Fail with NonFiniteLoss if for `broken` rows the model computed infinities or what is no number at all."""
    if broken:
        raise RunFailure(
            Reason.NON_FINITE_LOSS,
            f"evaluation: for {broken} of {total} {what} the model computes what is no finite number; "
            "its weights or its precision (model.dtype) are broken",
        )


def in_stretches(order: Sequence[int], *, world_size: int) -> list[int]:
    """Return `order` dealt out so that neighbours go to the same rank: its share, every n-th row, is one stretch."""
    size, longer = divmod(len(order), world_size)
    starts = [rank * size + min(rank, longer) for rank in range(world_size + 1)]
    stretches = [order[start:end] for start, end in pairwise(starts)]
    return [stretch[place] for place in range(size + 1) for stretch in stretches if place < len(stretch)]


def longest_first(lengths: Sequence[int]) -> list[int]:
    """Return row numbers so that rows of like length share a batch; equal ones keep their order."""
    return sorted(range(len(lengths)), key=lambda row: -lengths[row])
