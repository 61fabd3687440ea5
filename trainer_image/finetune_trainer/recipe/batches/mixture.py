"""The batches of all training sets in the order of one epoch. In each step all ranks draw theirs from the same set.

The library lets each rank draw its own: ranks then run different losses on different columns in one step, and wait
for each other for ever where a loss gathers embeddings.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch.utils.data import BatchSampler

from finetune_trainer.recipe.batches.sampler import SetBatches


class MixedBatches(BatchSampler):
    """Yields each global batch as one part per rank after another, which is how accelerate deals them out.

    Row numbers count through all sets. Proportional: every set is used up, in an order that chance mixes. In turn: one
    batch of each set after another, until one set is used up.
    """

    batch_size: int | None = None  # type: ignore[assignment]
    """None says to accelerate that sizes differ; it would drop smaller ones."""
    drop_last = True

    def __init__(self, sets: Sequence[SetBatches], *, world_size: int, seed: int, in_turn: bool = False) -> None:
        self._sets = sets
        self._world_size = world_size
        self.parts = world_size
        """Into which each global batch is cut; others than ranks where a training goes on with another number."""
        self._seed = seed
        self._in_turn = in_turn
        self._epoch = 0

    @property
    def steps(self) -> int:
        """Return the number of global batches in an epoch."""
        if self._in_turn:
            return min(len(one) for one in self._sets) * len(self._sets)
        return sum(len(one) for one in self._sets)

    @property
    def rows_of_part(self) -> list[int]:
        """Return the rows of each set that a rank has at once."""
        return [one.batch_size * self._world_size // self.parts for one in self._sets]

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        offsets = [0, *accumulate(one.rows for one in self._sets)]
        batches = [one.of_epoch(self._epoch) for one in self._sets]
        for number in self._order():
            rows = [offsets[number] + row for row in next(batches[number])]
            size = self.rows_of_part[number]
            yield from (rows[start : start + size] for start in range(0, len(rows), size))

    def _order(self) -> list[int]:
        """Return the number of the set that each step draws from."""
        if self._in_turn:
            return list(range(len(self._sets))) * (self.steps // len(self._sets))
        each = [number for number, one in enumerate(self._sets) for _ in range(len(one))]
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        return [each[place] for place in torch.randperm(len(each), generator=generator).tolist()]
