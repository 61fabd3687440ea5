# ruff: noqa: N803, N806 - tensors carry their shape in their names
"""Work on many rows, shared among the ranks: each row is computed once, on one rank, and all get all results.

Shapes: N rows, D numbers per row.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from finetune_api.reasons import Reason
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.workspace.failures import RunFailure


@dataclass(frozen=True)
class Shares:
    """How work is shared and batched."""

    ranks: Ranks
    batch_size: int
    autocast: torch.dtype | None = None
    """Precision of matrix products, as in training; None for that of the weights."""
    on_batch: Callable[[], None] = lambda: None
    """Called on every rank after the same number of batches; may end the run by raising on all of them."""

    def compute(
        self, order: Sequence[int], compute: Callable[[Sequence[int]], torch.Tensor], *, what: str
    ) -> torch.Tensor:
        """Return what `compute` returns for each row number in `order`, as float32 (N, D) on the CPU, on every rank.

        Neighbours in `order` share a batch; row n of the result belongs to row number n. `what` names the rows in
        the failure that numbers which are none end in.
        """
        if not order:
            return torch.empty(0, 0)
        shards = [order[rank :: self.ranks.world_size] for rank in range(self.ranks.world_size)]
        mine = shards[self.ranks.rank]
        # The first shard is the longest, and all ranks make as many rounds.
        starts = range(0, len(shards[0]), self.batch_size)
        batches = [self._compute_batch(mine[start : start + self.batch_size], compute) for start in starts]
        computed = [batch for batch in batches if len(batch)]
        parts = self.ranks.gather_rows(torch.cat(computed) if computed else torch.empty(0, 0))
        rows_ND = torch.empty(len(order), max(part.shape[1] for part in parts))
        for shard, part in zip(shards, parts, strict=True):
            rows_ND[shard] = part
        require_numbers(rows_ND, what)
        return rows_ND

    def _compute_batch(self, indices: Sequence[int], compute: Callable[[Sequence[int]], torch.Tensor]) -> torch.Tensor:
        rows_BD = torch.empty(0, 0)
        if indices:
            with self._autocast():
                rows_BD = compute(indices).float().cpu()
        self.on_batch()
        return rows_BD

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.ranks.device.type, dtype=self.autocast)


def require_numbers(rows_ND: torch.Tensor, what: str) -> None:
    """Fail with NonFiniteLoss, on every rank alike, if the model computed infinities or what is no number at all."""
    broken = int((~torch.isfinite(rows_ND)).any(dim=1).sum())
    if broken:
        raise RunFailure(
            Reason.NON_FINITE_LOSS,
            f"evaluation: for {broken} of {len(rows_ND)} {what} the model computes what is no finite number; "
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
