"""Which rows of one training set make a batch. Batches here are global: those of all ranks, one after another.

The order depends on seed and epoch alone, and works on the cells as they are stored (texts, and paths named by
content), so that it opens no image.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from datasets import Dataset
from sentence_transformers.base.sampler import GroupByLabelBatchSampler

from finetune_api.reasons import Reason
from finetune_trainer.workspace.failures import RunFailure

#: How many colliding rows one batch puts off before it takes them all the same, in multiples of its size.
PATIENCE = 8
#: Two labels, twice each.
SMALLEST_OF_TRIPLETS = 4


class SetBatches(Protocol):
    """The batches of one training set."""

    @property
    def batch_size(self) -> int:
        """Rows per rank."""

    @property
    def rows(self) -> int:
        """Rows of the set."""

    def __len__(self) -> int:
        """Return the number of global batches in an epoch."""

    def of_epoch(self, epoch: int) -> Iterator[list[int]]:
        """Yield the row numbers of each global batch."""


@dataclass(frozen=True)
class DistinctBatches:
    """Batches in which no text or image occurs twice: a second copy of a positive would be trained on as a negative.

    A batch takes a duplicate only if the rows left offer nothing else.
    """

    cells: Sequence[frozenset[int]]
    """Of each row; two rows that share one collide."""
    batch_size: int
    world_size: int
    seed: int

    @property
    def rows(self) -> int:
        """Return the rows of the set."""
        return len(self.cells)

    def __len__(self) -> int:
        return self.rows // (self.batch_size * self.world_size)

    def of_epoch(self, epoch: int) -> Iterator[list[int]]:
        """Yield the row numbers of each global batch."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        waiting = deque(torch.randperm(self.rows, generator=generator).tolist())
        for _ in range(len(self)):
            yield self._take(waiting, self.batch_size * self.world_size)

    def _take(self, waiting: deque[int], size: int) -> list[int]:
        """Return `size` rows from the front of `waiting`, stepping over those that collide."""
        batch: list[int] = []
        put_off: list[int] = []
        seen: set[int] = set()
        while waiting and len(batch) < size and len(put_off) < PATIENCE * size:
            row = waiting.popleft()
            if seen.isdisjoint(self.cells[row]):
                batch.append(row)
                seen |= self.cells[row]
            else:
                put_off.append(row)
        waiting.extendleft(reversed(put_off))
        batch += [waiting.popleft() for _ in range(size - len(batch))]
        return batch


def number_cells(columns: Sequence[Sequence[str]]) -> list[frozenset[int]]:
    """Return for each row the numbers of its cells; equal cells have equal numbers, in whichever column."""
    numbers: dict[str, int] = {}
    return [frozenset(numbers.setdefault(cell, len(numbers)) for cell in row) for row in zip(*columns, strict=True)]


class LabelBatches:
    """Batches in which each rank has at least two labels, each at least twice, for losses that mine triplets.

    Rows whose label is rare, and those of a label that outnumbers all others together, are left out of an epoch.
    """

    def __init__(self, dataset: Dataset, *, path: str, batch_size: int, world_size: int, seed: int) -> None:
        """Group the rows of `dataset` by its column `label`.

        Args:
            dataset: with a column `label`.
            path: of the set in the spec, for messages.
            batch_size: rows per rank; an odd number is lowered by one.
            world_size: ranks.
            seed: of the order.

        Raises:
            RunFailure: batches are too small for triplets, or the labels make none.

        """
        self.rows = len(dataset)
        self.batch_size = batch_size // 2 * 2
        self._world_size = world_size
        if self.batch_size < SMALLEST_OF_TRIPLETS:
            message = (
                f"{path}: batches of {batch_size} rows per process hold no triplets; give the set more rows "
                f"or set spec.training.perDeviceTrainBatchSize to {SMALLEST_OF_TRIPLETS} or more"
            )
            raise RunFailure(Reason.INVALID_ARGUMENT, message)
        try:
            self._sampler = GroupByLabelBatchSampler(
                dataset,
                batch_size=self.batch_size,
                drop_last=True,
                valid_label_columns=["label"],
                generator=torch.Generator(),
                seed=seed,
            )
            usable = len(self) > 0
        except ValueError:
            usable = False
        if not usable:
            message = (
                f"{path}: its labels make no batches of {self.batch_size} rows for each of {world_size} processes, "
                "with two labels or more that come twice or more; add rows or lower "
                "spec.training.perDeviceTrainBatchSize"
            )
            raise RunFailure(Reason.EMPTY_DATASET, message)

    def __len__(self) -> int:
        return len(self._sampler) // self._world_size

    def of_epoch(self, epoch: int) -> Iterator[list[int]]:
        """Yield the row numbers of each global batch."""
        self._sampler.set_epoch(epoch)
        batches = iter(self._sampler)
        for _ in range(len(self)):
            yield [row for _ in range(self._world_size) for row in next(batches)]
