# ruff: noqa: N803, N806, N815 - tensors carry their shape in their names
"""Rows of numbers that lie on the ranks that computed them: each on one, and all know where.

Shapes: N rows of all ranks, M on this one, B that are asked for, D numbers per row.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from finetune_trainer.train.evaluation.shares import Rounds
from finetune_trainer.train.gang.ranks import Ranks


@dataclass(frozen=True)
class Held:
    """This rank's part of them."""

    ranks: Ranks
    rank_N: np.ndarray
    """The rank that holds each row."""
    place_N: np.ndarray
    """Where it holds it."""
    rows_MD: torch.Tensor
    """On this rank's device."""

    @classmethod
    def of(cls, rounds: Rounds, rows_MD: torch.Tensor, ranks: Ranks) -> Self:
        """Return the rows that were computed in `rounds`."""
        total = sum(map(len, rounds))
        rank_N, place_N = np.empty(total, np.int32), np.empty(total, np.int64)
        for rank in range(ranks.world_size):
            rows = [row for one in rounds for row in one[rank :: ranks.world_size]]
            rank_N[rows], place_N[rows] = rank, np.arange(len(rows))
        return cls(ranks, rank_N, place_N, rows_MD)

    def here(self, rows: np.ndarray) -> np.ndarray:
        """Return which of these rows lie on this rank, by where they are among them."""
        return np.flatnonzero(self.rank_N[rows] == self.ranks.rank)

    def take(self, rows: np.ndarray, *, width: int | None = None) -> torch.Tensor:
        """Return rows of this rank, cut to their first `width` numbers."""
        places = torch.from_numpy(self.place_N[rows]).to(self.rows_MD.device)
        return self.rows_MD[:, :width][places]

    def fetch(self, rows: np.ndarray, *, width: int | None = None) -> torch.Tensor:
        """Return (B, D) of any rank's rows on all ranks, which call this together."""
        here = self.here(rows)
        found_BD = self.take(rows[here], width=width)
        if self.ranks.world_size == 1:
            return found_BD
        rows_BD = found_BD.new_zeros(len(rows), found_BD.shape[1])
        rows_BD[here] = found_BD
        return self.ranks.add(rows_BD)
