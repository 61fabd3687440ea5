# ruff: noqa: N803, N806, N815 - tensors carry their shape in their names
"""The best documents of each query, found a part of the documents at a time, wherever that lies.

As the library's InformationRetrievalEvaluator: by descending score, and of equal scores by ascending id. An id is here
its number in that order, `order`. What is left out in one part would not have been among the best of all.

Shapes: Q queries, N documents of one part, K of the best.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Best:
    """Documents found for each query."""

    scores_QK: torch.Tensor
    order_QK: torch.Tensor

    def cut(self, k: int) -> "Best":
        """Return the k best, best first."""
        by_order = self.order_QK.argsort(dim=1)
        scores_QK, order_QK = self.scores_QK.gather(1, by_order), self.order_QK.gather(1, by_order)
        by_score = scores_QK.argsort(dim=1, descending=True, stable=True)[:, :k]
        return Best(scores_QK.gather(1, by_score), order_QK.gather(1, by_score))


def best_of(scores_QN: torch.Tensor, order_N: torch.Tensor, k: int) -> Best:
    """Return the k best of one part, in no order."""
    if scores_QN.shape[1] <= k:
        return Best(scores_QN, order_N.expand_as(scores_QN))
    scores_QK, columns_QK = scores_QN.topk(k + 1)
    # topk takes any of those that tie at the edge.
    tied = scores_QK[:, k - 1] == scores_QK[:, k]
    scores_QK, columns_QK = scores_QK[:, :k], columns_QK[:, :k]
    if tied.any():
        columns_QK[tied] = _lowest_of_tied(scores_QN[tied], scores_QK[tied][:, -1:], order_N, k)
        scores_QK = scores_QN.gather(1, columns_QK)
    return Best(scores_QK, order_N[columns_QK])


def _lowest_of_tied(scores_QN: torch.Tensor, edge_Q1: torch.Tensor, order_N: torch.Tensor, k: int) -> torch.Tensor:
    """Return the columns of what is above the edge, and of the lowest ids at it."""
    beyond = int(order_N.max()) + 1
    keys_QN = torch.where(scores_QN == edge_Q1, order_N + beyond, 2 * beyond)
    keys_QN = torch.where(scores_QN > edge_Q1, order_N, keys_QN)
    return keys_QN.topk(k, dim=1, largest=False).indices


def join(parts: list[Best]) -> Best:
    """Return all that was found in several parts, in no order."""
    return Best(torch.cat([one.scores_QK for one in parts], 1), torch.cat([one.order_QK for one in parts], 1))
