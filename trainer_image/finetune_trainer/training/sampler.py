"""Batches in which no text or image occurs twice: a second copy of a positive would be trained on as a negative.

Works on the cells as they are stored (texts, and paths named by content), so it opens no image.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import BatchSampler

#: How many colliding rows one batch puts off before it takes them all the same, in multiples of its size.
PATIENCE = 8


class DistinctBatches(BatchSampler):
    """Global batches of `batch_size * world_size` distinct rows, yielded as one batch per rank after another.

    The order depends on seed and epoch alone. Every rank gets the same number of batches. A batch takes a duplicate
    only if the rows left offer nothing else.
    """

    def __init__(self, rows: Sequence[frozenset[int]], *, batch_size: int, world_size: int, seed: int) -> None:
        super().__init__(range(len(rows)), batch_size=batch_size, drop_last=True)
        self._rows = rows
        self._world_size = world_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._rows) // (self.batch_size * self._world_size) * self._world_size

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        waiting = deque(torch.randperm(len(self._rows), generator=generator).tolist())
        for _ in range(len(self) // self._world_size):
            global_batch = self._take(waiting, self.batch_size * self._world_size)
            for start in range(0, len(global_batch), self.batch_size):
                yield global_batch[start : start + self.batch_size]

    def _take(self, waiting: deque[int], size: int) -> list[int]:
        """Return `size` rows from the front of `waiting`, stepping over those that collide."""
        batch: list[int] = []
        put_off: list[int] = []
        seen: set[int] = set()
        while waiting and len(batch) < size and len(put_off) < PATIENCE * size:
            row = waiting.popleft()
            if seen.isdisjoint(self._rows[row]):
                batch.append(row)
                seen |= self._rows[row]
            else:
                put_off.append(row)
        waiting.extendleft(reversed(put_off))
        batch += [waiting.popleft() for _ in range(size - len(batch))]
        return batch


def number_cells(columns: Sequence[Sequence[str]]) -> list[frozenset[int]]:
    """Return for each row the numbers of its cells; equal cells have equal numbers, in whichever column."""
    numbers: dict[str, int] = {}
    return [frozenset(numbers.setdefault(cell, len(numbers)) for cell in row) for row in zip(*columns, strict=True)]
